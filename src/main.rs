//! The program `microbuild`; see the library's documentation.

use std::process::ExitCode;

use microbuild::{cli, host::Host};

fn main() -> ExitCode {
    match cli::run(std::env::args_os(), &Host::of_process()) {
        Ok(status) => ExitCode::from(status),
        Err(error) => ExitCode::from(cli::explain(&error)),
    }
}
