//! The daemon. Everything is in the library, where tests reach it.

fn main() -> std::process::ExitCode {
    hardpan::cli::hardpand::main().into()
}
