//! Who a client is.
//!
//! Promise: nothing here knows a protocol; a front says who proved what, and asks what that allows.

pub mod principal;
