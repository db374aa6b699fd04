//! Guest SDK: write a task-based app as a component.
