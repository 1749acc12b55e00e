//! `keylane completions` and `keylane man`: made from the same declarations as the commands themselves.
use std::path::PathBuf;

use clap::Command;
use clap_complete::Shell;

use super::failure::Failure;
use super::say;

/// Options of `keylane completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Options of `keylane man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Write a page for each command here; it must exist
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints completions.
pub fn completions(args: &CompletionsArgs, command: &mut Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "keylane", &mut script);
    say::print(&String::from_utf8_lossy(&script))
}

/// Prints the manual page, or writes all of them.
pub fn man(args: &ManArgs, command: Command) -> Result<(), Failure> {
    if let Some(dir) = &args.dir {
        let failed = |error| Failure::Unfit(format!("{} cannot be written to: {error}", dir.display()));
        return clap_mangen::generate_to(command, dir).map_err(failed);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).map_err(Failure::Output)?;
    say::print(&String::from_utf8_lossy(&page))
}
