//! The program `microbuild`; see the library's documentation.

use std::process::ExitCode;

use microbuild::{Host, command_line};

fn main() -> ExitCode {
    ExitCode::from(command_line(std::env::args_os(), &Host::of_process()))
}
