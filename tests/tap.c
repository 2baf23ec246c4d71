#include "tap.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <CUnit/TestRun.h>

static const char *skip_reason;
static unsigned number;
static unsigned failed;

static void report(const CU_pTest test, const CU_pSuite suite, const CU_pFailureRecord failure)
{
    number++;
    if (failure) {
        failed++;
        printf("not ok %u - %s: %s\n", number, suite->pName, test->pName);
        for (const struct CU_FailureRecord *f = failure; f; f = f->pNext)
            printf("# %s:%u: %s\n", f->strFileName, f->uiLineNumber, f->strCondition);
    } else if (skip_reason) {
        printf("ok %u - %s: %s # SKIP %s\n", number, suite->pName, test->pName, skip_reason);
    } else {
        printf("ok %u - %s: %s\n", number, suite->pName, test->pName);
    }
    fflush(stdout);
    skip_reason = NULL;
}

int tap_main(int argc, char **argv, const char *suite_name, const struct tap_test *tests)
{
    CU_pSuite suite;

    if (CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    suite = CU_add_suite(suite_name, NULL, NULL);
    for (; suite && tests->name; tests++) {
        int wanted = argc < 2;

        for (int i = 1; i < argc; i++)
            wanted |= !strcmp(argv[i], tests->name);
        if (wanted)
            CU_add_test(suite, tests->name, tests->run);
    }
    CU_set_test_complete_handler(report);
    CU_run_all_tests();
    printf("1..%u\n", number);
    CU_cleanup_registry();
    return failed || !number;
}

void tap_skip(const char *reason)
{
    skip_reason = reason;
}

void tap_note(const char *format, ...)
{
    va_list args;

    printf("# ");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

const char *tap_shared(void)
{
    static const char *const places[] = {SOURCE_ROOT "/../shared", NULL};

    for (int i = 0; places[i]; i++)
        if (!access(places[i], R_OK))
            return places[i];
    return NULL;
}
