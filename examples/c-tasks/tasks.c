/* Tasks in C: words of a text are counted, counts are added up, and bytes are reversed. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "taps_task.h"

typedef struct {
    char *word;
    size_t length;
    uint64_t count;
} entry;

/* Counts by word: open addressing, with room for twice as many. */
typedef struct {
    entry *entries;
    size_t used, room;
} table;

static uint32_t hash(const char *word, size_t length) {
    uint32_t value = 2166136261u;
    for (size_t i = 0; i < length; i++) {
        value = (value ^ (uint8_t)word[i]) * 16777619u;
    }
    return value;
}

static entry *place(table *counts, const char *word, size_t length) {
    for (size_t i = hash(word, length);; i++) {
        entry *found = &counts->entries[i & (counts->room - 1)];
        if (found->word == NULL || (found->length == length && memcmp(found->word, word, length) == 0)) {
            return found;
        }
    }
}

static void grow(table *counts) {
    table larger = {NULL, counts->used, counts->room == 0 ? 64 : 2 * counts->room};
    larger.entries = calloc(larger.room, sizeof *larger.entries);
    if (larger.entries == NULL) {
        abort();
    }
    for (size_t i = 0; i < counts->room; i++) {
        entry *old = &counts->entries[i];
        if (old->word != NULL) {
            *place(&larger, old->word, old->length) = *old;
        }
    }
    free(counts->entries);
    *counts = larger;
}

/* Adds to the count of a word in lower case, which must stay where it is. */
static void add(table *counts, char *word, size_t length, uint64_t count) {
    if (2 * counts->used >= counts->room) {
        grow(counts);
    }
    entry *found = place(counts, word, length);
    if (found->word == NULL) {
        counts->used++;
        found->word = word;
        found->length = length;
    }
    found->count += count;
}

static int by_word(const void *left, const void *right) {
    const entry *a = left, *b = right;
    int order = memcmp(a->word, b->word, a->length < b->length ? a->length : b->length);
    return order != 0 ? order : (a->length > b->length) - (a->length < b->length);
}

/* The counts as a JSON object with its keys in order. */
static taps_bytes written(table *counts) {
    size_t kept = 0;
    for (size_t i = 0; i < counts->room; i++) {
        if (counts->entries[i].word != NULL) {
            counts->entries[kept++] = counts->entries[i];
        }
    }
    qsort(counts->entries, kept, sizeof *counts->entries, by_word);
    taps_text text = {0};
    taps_append(&text, "{", 1);
    for (size_t i = 0; i < kept; i++) {
        taps_append(&text, i == 0 ? "\"" : ",\"", i == 0 ? 1 : 2);
        taps_append(&text, counts->entries[i].word, counts->entries[i].length);
        taps_append_format(&text, "\":%" PRIu64, counts->entries[i].count);
    }
    taps_append(&text, "}", 1);
    return (taps_bytes){(uint8_t *)text.data, text.length};
}

static bool count_words(const taps_bytes *arguments, size_t count, taps_bytes *result, taps_error *error) {
    (void)count, (void)error;
    char *text = (char *)arguments[0].data;
    size_t length = arguments[0].length;
    table counts = {0};
    for (size_t i = 0; i < length;) {
        size_t start = i;
        while (i < length && isalpha((uint8_t)text[i])) {
            text[i] = (char)tolower((uint8_t)text[i]);
            i++;
        }
        if (i > start) {
            add(&counts, text + start, i - start, 1);
        } else {
            i++;
        }
    }
    *result = written(&counts);
    return true;
}

/* Reads JSON from left to right. */
typedef struct {
    char *at, *end;
} reader;

/* Steps over white space and one character; false if another one comes. */
static bool step(reader *json, char expected) {
    while (json->at < json->end && isspace((uint8_t)*json->at)) {
        json->at++;
    }
    if (json->at == json->end || *json->at != expected) {
        return false;
    }
    json->at++;
    return true;
}

/* A string without escapes, in place. */
static bool read_string(reader *json, char **string, size_t *length) {
    if (!step(json, '"')) {
        return false;
    }
    *string = json->at;
    while (json->at < json->end && *json->at != '"') {
        if (*json->at == '\\') {
            return false;
        }
        json->at++;
    }
    *length = (size_t)(json->at - *string);
    return step(json, '"');
}

static bool read_number(reader *json, uint64_t *number) {
    *number = 0;
    while (json->at < json->end && isspace((uint8_t)*json->at)) {
        json->at++;
    }
    char *start = json->at;
    for (; json->at < json->end && isdigit((uint8_t)*json->at); json->at++) {
        if (__builtin_mul_overflow(*number, 10, number) ||
            __builtin_add_overflow(*number, (uint64_t)(*json->at - '0'), number)) {
            return false;
        }
    }
    return json->at > start;
}

static bool read_counts(reader json, table *counts) {
    if (!step(&json, '{')) {
        return false;
    }
    if (step(&json, '}')) {
        return true;
    }
    do {
        char *word;
        size_t length;
        uint64_t count;
        if (!read_string(&json, &word, &length) || !step(&json, ':') || !read_number(&json, &count)) {
            return false;
        }
        add(counts, word, length, count);
    } while (step(&json, ','));
    return step(&json, '}');
}

static bool merge_counts(const taps_bytes *arguments, size_t count, taps_bytes *result, taps_error *error) {
    table counts = {0};
    for (size_t i = 0; i < count; i++) {
        char *text = (char *)arguments[i].data;
        if (!read_counts((reader){text, text + arguments[i].length}, &counts)) {
            return taps_fail(error, "BadCounts", "argument %zu is no JSON object of whole numbers by word", i);
        }
    }
    *result = written(&counts);
    return true;
}

static bool reverse(const taps_bytes *arguments, size_t count, taps_bytes *result, taps_error *error) {
    (void)count, (void)error;
    size_t length = arguments[0].length;
    taps_text reversed = {0};
    taps_append(&reversed, (char *)arguments[0].data, length);
    for (size_t i = 0; i < length / 2; i++) {
        char other = reversed.data[length - 1 - i];
        reversed.data[length - 1 - i] = reversed.data[i];
        reversed.data[i] = other;
    }
    *result = (taps_bytes){(uint8_t *)reversed.data, length};
    return true;
}

static bool misbehave(const taps_bytes *arguments, size_t count, taps_bytes *result, taps_error *error) {
    (void)count, (void)result;
    reader json = {(char *)arguments[0].data, (char *)arguments[0].data + arguments[0].length};
    char *key, *how;
    size_t key_length, length;
    if (!step(&json, '{') || !read_string(&json, &key, &key_length) || !step(&json, ':') ||
        !read_string(&json, &how, &length)) {
        return taps_fail(error, "BadRequest", "expected a JSON object with the key \"how\"");
    }
    how[length] = '\0';
    if (strcmp(how, "error") == 0) {
        return taps_fail(error, "AskedFor", "asked for by the driver");
    }
    if (strcmp(how, "trap") == 0) {
        fputs("about to abort\n", stderr);
        abort();
    }
    if (strcmp(how, "memory") == 0) {
        for (;;) {
            volatile char *hoard = malloc(1 << 20);
            hoard[0] = 1;
        }
    }
    return taps_fail(error, "BadRequest", "no way to misbehave: %.100s", how);
}

static const char *const text_parameter[][2] = {{"text", "bytes"}, {NULL, NULL}};
static const char *const data_parameter[][2] = {{"data", "bytes"}, {NULL, NULL}};
static const char *const counts_parameter[][2] = {{"counts", "list of json"}, {NULL, NULL}};
static const char *const how_parameter[][2] = {{"how", "json"}, {NULL, NULL}};

static const taps_task tasks[] = {
    {"c_count_words", "Counts the words of a text: runs of ASCII letters, in lower case.", text_parameter, "json", 1, 1,
     true, count_words},
    {"c_merge_counts", "Adds up counts.", counts_parameter, "json", 0, SIZE_MAX, true, merge_counts},
    {"c_misbehave", "Goes wrong as asked, to show what becomes of it: `{\"how\": \"error\"}`, `trap` or `memory`.",
     how_parameter, "bytes", 1, 1, false, misbehave},
    {"c_reverse", "Reverses the order of bytes.", data_parameter, "bytes", 1, 1, true, reverse},
};

const taps_component_description taps_component = {
    "c-tasks", "0.1.0", "Counts words, in C.", tasks, sizeof tasks / sizeof *tasks,
};
