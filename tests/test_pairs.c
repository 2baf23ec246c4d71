/* What is known of patterns by pairs of bytes: never that a text cannot be one where it is. */
#include <stdio.h>
#include <string.h>

#include "../kfl-jit/pairs.h"
#include "../kfl-jit/regex.h"
#include "kfl_random.h"
#include "tap.h"

static const char *const patterns[] = {
    "api",
    "(?i)(sqlmap|nikto|nmap)",
    "(?i)\\b(select|union|drop)\\b.*\\bfrom\\b",
    "^/admin(/|$)",
    "ab+c?",
    "(ab|ba)",
    "a?b?c?",
    "[ab]c[ab]",
    "(?i)k\xc5\xbf",
    "(?i)(ks|sk)",
    "(?s)a.b",
    "x{2,}y",
    "",
};

static struct atom atom_of(const char *pattern, bool literal)
{
    return (struct atom){.op = literal ? ATOM_CONTAINS : ATOM_REGEX,
                         .text = {pattern, strlen(pattern)}};
}

static void texts_without_the_pairs_do_not_match(void)
{
    static const char *const parts[] = {
        "a",      "b",        "c",      "/",   "x",    "y",          "K",   "s",
        "from",   "\xc5\xbf", "UNION ", "api", "Q",    " ",          "ApI", "\xe2\x84\xaa",
        "/admin", "sqLMap",   "",       "\n",  "\xff", "mozilla/5.0"};
    struct kfl_random rng = {20250127};

    for (unsigned i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        char error[100];
        struct kfl_regex *regex =
            kfl_regex_create(patterns[i], strlen(patterns[i]), error, sizeof error);
        struct atom matches = atom_of(patterns[i], false), contains = atom_of(patterns[i], true);
        struct pairs pairs = {.n = 0};
        uint8_t of_matches = pairs_add(&pairs, &matches);
        uint8_t of_contains = pairs_add(&pairs, &contains);

        for (unsigned round = 0; round < 20000; round++) {
            char text[256] = "";
            size_t size;
            uint8_t found;

            for (unsigned n = kfl_random_below(&rng, 12); n; n--)
                strcat(text, parts[kfl_random_below(&rng, sizeof parts / sizeof *parts)]);
            size = strlen(text);
            found = pairs_found(&pairs, text, (uint32_t)size);
            if (of_matches && !(of_matches & found))
                CU_ASSERT_FALSE_FATAL(kfl_regex_find(regex, text, size));
            if (of_contains && !(of_contains & found))
                CU_ASSERT_PTR_NULL_FATAL(strstr(text, patterns[i]));
        }
        kfl_regex_free(regex);
    }
}

static void most_texts_have_none_of_them(void)
{
    static const char agent[] = "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/128.0";
    struct pairs pairs = {.n = 0};

    for (unsigned i = 1; i < 3; i++) {
        struct atom atom = atom_of(patterns[i], false);

        CU_ASSERT_NOT_EQUAL(pairs_add(&pairs, &atom), 0);
    }
    CU_ASSERT_EQUAL(pairs_found(&pairs, agent, sizeof agent - 1), 0);
    CU_ASSERT_EQUAL(pairs_found(&pairs, "", 0), 0);
    CU_ASSERT_EQUAL(pairs_found(&pairs, "n", 1), 0);
    CU_ASSERT_NOT_EQUAL(pairs_found(&pairs, "NMAP", 4), 0);
    CU_ASSERT_NOT_EQUAL(pairs_found(&pairs, "a text that is long, with sqlMAP", 32), 0);
    CU_ASSERT_NOT_EQUAL(pairs_found(&pairs, "drop all of it From", 19), 0);
}

static void there_is_room_for_some(void)
{
    static const char *const literals[] = {"aa", "bb", "cc", "dd", "ee", "ff", "gg", "hh", "ii"};
    struct pairs pairs = {.n = 0};

    for (unsigned i = 0; i < 9; i++) {
        struct atom atom = atom_of(literals[i], true);

        CU_ASSERT_EQUAL(pairs_add(&pairs, &atom), i < PAIRS_MAX ? 1 << i : 0);
    }
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"texts without the pairs do not match", texts_without_the_pairs_do_not_match},
        {"most texts have none of them", most_texts_have_none_of_them},
        {"there is room for some", there_is_room_for_some},
        {0},
    };

    return tap_main(argc, argv, "pairs", tests);
}
