//! Prints the options that make microbuild use the tests' Alpine mirror, which is made when it is not there yet; `tests/mirror`
//! runs it.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "the tests' helpers have parts that only tests use")]

#[path = "../tests/support/mod.rs"]
mod support;

fn main() -> std::process::ExitCode {
    let Some(mirror) = support::alpine::mirror() else { return std::process::ExitCode::FAILURE };
    println!("--mirror {} --keys {}", mirror.dir.display(), mirror.keys_dir.display());
    std::process::ExitCode::SUCCESS
}
