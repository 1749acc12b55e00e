//! Negative controls: bugs that are planted in the engine are found.
#![cfg(keylane_planted)]

mod planted;
mod power_loss;
