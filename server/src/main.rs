//! The `keylane` binary. See module `cli` of the library.

fn main() -> std::process::ExitCode {
    keylane::cli::run()
}
