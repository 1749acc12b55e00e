//! `keylane bench`: a door to the load generator, which is a program of its own.
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use super::failure::Failure;

/// The load generator's program.
const PROGRAM: &str = "keylane-loadgen";

/// Options of `keylane bench`.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct BenchArgs {
    /// Arguments of keylane-loadgen, as run --broker HOST:PORT --duration 10s; --help shows them
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Becomes the load generator. Returns only if there is none.
pub fn run(args: &BenchArgs) -> Failure {
    let beside = std::env::current_exe().ok().map(|this| this.with_file_name(PROGRAM));
    // What is not beside this program is looked for in PATH.
    let program = beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(PROGRAM));
    let error = Command::new(&program).args(&args.args).exec();
    match error.kind() {
        ErrorKind::NotFound => Failure::Unfit(format!(
            "{PROGRAM} is neither beside this program nor in PATH; `cargo build --release -p {PROGRAM}` builds it"
        )),
        _ => Failure::Unfit(format!("{} cannot be run: {error}", program.display())),
    }
}
