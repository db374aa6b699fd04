//! The config tree: dotted flags, files, precedence, validation, help.
