//! Everything that reads bytes from outside or from the disk, fed with bytes that are nearly right.
//!
//! A target makes valid bytes, spoils them, mostly corrects checksums and lengths so that the spoiled bytes get past them,
//! and has them decoded. A decoder may take the bytes or refuse them; what it takes must be consistent, which each
//! target defines. No decoder may panic, hang, or need more memory than the process has here (512 MiB). Every target has a
//! decoder that is wrong on purpose, and it must be found.
//!
//! By default each target runs some thousand cases with the same seeds. `KEYLANE_FUZZ_SECONDS=600` runs each for 600
//! seconds with new seeds; `KEYLANE_FUZZ_SEED=N` begins at a seed that was printed.

mod batches;
mod catalog;
mod checkpoint;
mod codecs;
mod commits;
mod directories;
mod groups;
mod harness;
mod index;
mod kinesis;
mod messages;
mod spoil;
