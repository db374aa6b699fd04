/* What a component exports, made of the tasks in `taps_component`. */
#include "taps_task.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/task_library.h"

/* Version of `taps:core` in `wit/taps.wit`. */
#define WIT_VERSION "0.1.0"
/* Results up to this size travel with the answer; larger ones are written into a segment of the host. */
#define INLINE_BYTES ((size_t)64 << 10)

/* The bindings ask for an object with the types of the component. The linker makes them itself, from the WIT file. */
void __component_type_object_force_link_task_library(void) {}

static void *checked(void *memory) {
    if (memory == NULL) {
        /* The host ends a task at its memory limit before this is seen. */
        abort();
    }
    return memory;
}

bool taps_fail(taps_error *error, const char *kind, const char *format, ...) {
    va_list values;
    error->kind = kind;
    va_start(values, format);
    vsnprintf(error->message, sizeof error->message, format, values);
    va_end(values);
    return false;
}

void taps_append(taps_text *text, const char *bytes, size_t length) {
    if (text->room - text->length < length) {
        text->room = 2 * text->room + length;
        text->data = checked(realloc(text->data, text->room));
    }
    memcpy(text->data + text->length, bytes, length);
    text->length += length;
}

void taps_append_format(taps_text *text, const char *format, ...) {
    char buffer[256];
    va_list values;
    va_start(values, format);
    int length = vsnprintf(buffer, sizeof buffer, format, values);
    va_end(values);
    if (length < 0 || (size_t)length >= sizeof buffer) {
        abort();
    }
    taps_append(text, buffer, (size_t)length);
}

void taps_append_json(taps_text *text, const char *string) {
    taps_append(text, "\"", 1);
    for (; *string != '\0'; string++) {
        if (*string == '"' || *string == '\\') {
            taps_append(text, "\\", 1);
            taps_append(text, string, 1);
        } else if ((unsigned char)*string < ' ') {
            taps_append_format(text, "\\u%04x", *string);
        } else {
            taps_append(text, string, 1);
        }
    }
    taps_append(text, "\"", 1);
}

static void append_field(taps_text *text, const char *name, const char *value) {
    taps_append_format(text, ",\"%s\":", name);
    taps_append_json(text, value);
}

static void append_task(taps_text *text, const taps_task *task) {
    taps_append_format(text, "{\"pure\":%s,\"parameters\":[", task->pure ? "true" : "false");
    for (const char *const (*parameter)[2] = task->parameters; (*parameter)[0] != NULL; parameter++) {
        taps_append(text, parameter == task->parameters ? "[" : ",[", parameter == task->parameters ? 1 : 2);
        taps_append_json(text, (*parameter)[0]);
        taps_append(text, ",", 1);
        taps_append_json(text, (*parameter)[1]);
        taps_append(text, "]", 1);
    }
    taps_append(text, "],\"outputs\":[", 13);
    taps_append_json(text, task->output);
    taps_append(text, "]", 1);
    append_field(text, "name", task->name);
    append_field(text, "help", task->help);
    taps_append(text, "}", 1);
}

void exports_taps_core_description_describe(task_library_string_t *ret) {
    taps_text text = {0};
    taps_append_format(&text, "{\"wit_version\":\"%s\",\"driver\":false,\"tasks\":[", WIT_VERSION);
    for (size_t i = 0; i < taps_component.count; i++) {
        if (i > 0) {
            taps_append(&text, ",", 1);
        }
        append_task(&text, &taps_component.tasks[i]);
    }
    taps_append(&text, "]", 1);
    append_field(&text, "name", taps_component.name);
    append_field(&text, "version", taps_component.version);
    append_field(&text, "summary", taps_component.summary);
    taps_append(&text, "}", 1);
    ret->ptr = (uint8_t *)text.data;
    ret->len = text.length;
}

/* A payload that cannot be read or written ends the task with `payload-error`. */
static bool payload_failed(taps_core_payloads_payload_error_t code, taps_error *error) {
    return taps_fail(error, "payload-error", "payload error %d", code);
}

/* Reads a whole payload into memory of ours, in place. */
static bool read_payload(exports_taps_core_tasks_own_payload_t payload, taps_bytes *into, taps_error *error) {
    taps_core_payloads_borrow_payload_t handle = taps_core_payloads_borrow_payload(payload);
    uint64_t size = taps_core_payloads_method_payload_size(handle);
    if (size > SIZE_MAX) {
        return taps_fail(error, "TooLarge", "a payload of %llu bytes", (unsigned long long)size);
    }
    into->length = (size_t)size;
    into->data = checked(malloc(into->length + 1));
    task_library_list_u8_t buffer = {into->data, into->length};
    uint64_t got = 0;
    taps_core_payloads_payload_error_t code;
    if (!taps_core_payloads_method_payload_read_into(handle, 0, &buffer, &got, &code)) {
        return payload_failed(code, error);
    }
    if (got != size) {
        return taps_fail(error, "TooShort", "a payload of %llu bytes ends after %llu", (unsigned long long)size,
                         (unsigned long long)got);
    }
    taps_core_payloads_payload_drop_own(payload);
    return true;
}

static bool read_arguments(exports_taps_core_tasks_list_argument_t *args, taps_bytes *arguments, taps_error *error) {
    for (size_t i = 0; i < args->len; i++) {
        exports_taps_core_tasks_argument_t *argument = &args->ptr[i];
        if (argument->tag == EXPORTS_TAPS_CORE_TASKS_ARGUMENT_INLINE) {
            arguments[i].data = argument->val.inline_.ptr;
            arguments[i].length = argument->val.inline_.len;
        } else if (!read_payload(argument->val.payload, &arguments[i], error)) {
            return false;
        }
    }
    return true;
}

static bool write_result(taps_bytes result, exports_taps_core_tasks_list_output_t *ret, taps_error *error) {
    exports_taps_core_tasks_output_t *output = checked(malloc(sizeof *output));
    task_library_list_u8_t bytes = {result.data, result.length};
    if (result.length <= INLINE_BYTES) {
        output->tag = EXPORTS_TAPS_CORE_TASKS_OUTPUT_INLINE;
        output->val.inline_ = bytes;
    } else {
        taps_core_payloads_payload_error_t code;
        output->tag = EXPORTS_TAPS_CORE_TASKS_OUTPUT_BUFFER;
        if (!taps_core_payloads_static_output_buffer_copy(&bytes, &output->val.buffer, &code)) {
            return payload_failed(code, error);
        }
    }
    ret->ptr = output;
    ret->len = 1;
    return true;
}

static bool run(uint32_t index, exports_taps_core_tasks_list_argument_t *args,
                exports_taps_core_tasks_list_output_t *ret, taps_error *error) {
    if (index >= taps_component.count) {
        return taps_fail(error, "UnknownTask", "the component has no task %u", (unsigned)index);
    }
    const taps_task *task = &taps_component.tasks[index];
    if (args->len < task->least || args->len > task->most) {
        return taps_fail(error, "ArgumentCount", "%zu arguments given, expected %zu%s", args->len, task->least,
                         task->least == task->most ? "" : " or more");
    }
    taps_bytes *arguments = checked(calloc(args->len + 1, sizeof *arguments));
    taps_bytes result = {0};
    /* Nothing is freed: a sandbox lives for one task. Under `--instances reuse` free what you allocate. */
    return read_arguments(args, arguments, error) && task->run(arguments, args->len, &result, error) &&
           write_result(result, ret, error);
}

bool exports_taps_core_tasks_run(uint32_t task, exports_taps_core_tasks_list_argument_t *args,
                                 exports_taps_core_tasks_list_output_t *ret,
                                 exports_taps_core_tasks_task_error_t *err) {
    taps_error error;
    if (run(task, args, ret, &error)) {
        return true;
    }
    task_library_string_dup(&err->kind, error.kind);
    task_library_string_dup(&err->message, error.message);
    return false;
}
