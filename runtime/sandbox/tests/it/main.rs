//! Guests written by hand against the sandbox: what they can do, what they cannot, and what the host
//! says of it.

mod attacks;
mod bench;
mod caching;
mod describing;
mod faults;
mod files;
mod guest;
mod interrupts;
mod kernels;
mod limits;
mod lost_inputs;
mod nans;
mod outcomes;
mod policies;
mod spilling;
mod windows;
