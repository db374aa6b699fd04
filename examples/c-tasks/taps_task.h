/* Writes tasks for taps-wasm in C: fill in `taps_component`, and link `taps_task.c` and the bindings to it.
 * Copy both files into your project. */
#ifndef TAPS_TASK_H
#define TAPS_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of an argument or a result. A result belongs to the host once it is returned; it was made by `malloc`. */
typedef struct {
    uint8_t *data;
    size_t length;
} taps_bytes;

/* A task's own error: it ends the task with the outcome `task-error`. */
typedef struct {
    const char *kind;
    char message[256];
} taps_error;

/* Runs a task: fills in the result and gives true, or fills in the error and gives false. */
typedef bool (*taps_run)(const taps_bytes *arguments, size_t count, taps_bytes *result, taps_error *error);

typedef struct {
    const char *name;
    const char *help;
    /* Pairs of a name and a type, up to one that is `NULL`. */
    const char *const (*parameters)[2];
    const char *output;
    /* Least and most arguments. */
    size_t least, most;
    /* Whether equal arguments always give equal results. */
    bool pure;
    taps_run run;
} taps_task;

typedef struct {
    const char *name, *version, *summary;
    /* Sorted by name. */
    const taps_task *tasks;
    size_t count;
} taps_component_description;

/* Defined by you. */
extern const taps_component_description taps_component;

/* Fills in an error; gives false, so that a task can return it. */
bool taps_fail(taps_error *error, const char *kind, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A text that grows. */
typedef struct {
    char *data;
    size_t length, room;
} taps_text;

void taps_append(taps_text *text, const char *bytes, size_t length);
void taps_append_format(taps_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends a JSON string: quoted and escaped. */
void taps_append_json(taps_text *text, const char *string);

#endif
