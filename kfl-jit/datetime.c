/* datetime.c - `M/D/YYYY, h:mm:ss.mmm PM` (section 8.1). */
#include "eval.h"

struct reader {
    const char *at, *end;
    bool failed;
};

static int number(struct reader *reader, int fewest, int most);
static void character(struct reader *reader, char c);
static void spaces(struct reader *reader);
static int days_of_month(int year, int month);
static int64_t days_since_epoch(int year, int month, int day);

bool datetime_read(const char *text, size_t size, int64_t *ret_ms)
{
    struct reader r = {text, text + size, false};
    int month, day, year, hour, minute, second, ms = 0;
    bool pm;

    month = number(&r, 1, 2);
    character(&r, '/');
    day = number(&r, 1, 2);
    character(&r, '/');
    year = number(&r, 4, 4);
    character(&r, ',');
    spaces(&r);
    hour = number(&r, 1, 2);
    character(&r, ':');
    minute = number(&r, 2, 2);
    character(&r, ':');
    second = number(&r, 2, 2);
    if (r.at < r.end && (*r.at == '.' || *r.at == ',')) {
        r.at++;
        ms = number(&r, 3, 3);
    }
    spaces(&r);
    pm = r.at < r.end && *r.at == 'P';
    character(&r, pm ? 'P' : 'A');
    character(&r, 'M');
    if (r.failed || r.at != r.end || year < 1 || month < 1 || month > 12 || day < 1 ||
        day > days_of_month(year, month) || hour > 12 || minute > 59 || second > 59)
        return false;
    hour = hour % 12 + (pm ? 12 : 0);
    *ret_ms = ((days_since_epoch(year, month, day) * 24 + hour) * 60 + minute) * 60000 +
              second * 1000 + ms;
    return true;
}

static int number(struct reader *reader, int fewest, int most)
{
    int n = 0, value = 0;

    for (; n < most && reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9'; n++)
        value = value * 10 + (*reader->at++ - '0');
    reader->failed |= n < fewest;
    return value;
}

static void character(struct reader *reader, char c)
{
    if (reader->at < reader->end && *reader->at == c)
        reader->at++;
    else
        reader->failed = true;
}

static void spaces(struct reader *reader)
{
    character(reader, ' ');
    while (reader->at < reader->end && *reader->at == ' ')
        reader->at++;
}

static int days_of_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return days[month - 1] + (month == 2 && leap);
}

/* Years begin in March here, so that the leap day is the last one. */
static int64_t days_since_epoch(int year, int month, int day)
{
    int y = year - (month <= 2), m = (month + 9) % 12;

    return 365 * (int64_t)y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}
