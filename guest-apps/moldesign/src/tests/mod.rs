mod app;
mod outputs;
mod reading;
mod selection;
