//! The command line: arguments, configuration, and the wiring of the stages.
//!
//! **Invariant:** this is the only crate that imports two stages; they meet in folders, and here.

// A command-line program talks to the person who runs it.
#![allow(clippy::print_stdout)]

mod args;
mod commands;
mod config;
mod machines;
mod overrides;
mod roles;
mod teachers;
mod terminate;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Verb};

/// Reading rows makes and drops small strings on several threads at once, where the system's
/// allocator takes a third of the time (bench/runs/2026-11-23-mathv360k.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.quiet {
        sample::progress::set_quiet(true);
    }
    if let Some(threads) = arguments.threads {
        // Fails only where the pool is already started, and nothing has started it yet.
        let _ = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .build_global();
    }
    // The first signal asks for a clean stop at the next safe point, the second means now.
    let handler = ctrlc::set_handler(|| {
        if sample::interrupt::requests() > 0 {
            std::process::exit(130);
        }
        eprintln!("stopping at the next safe point; once more to stop at once");
        sample::interrupt::request();
    });
    if let Err(error) = handler {
        eprintln!(
            "math-llava: cannot watch for Ctrl-C ({error}); a stop may lose the step at work"
        );
    }
    terminate::watch();
    #[cfg(feature = "cluster")]
    cluster::store::register();
    let training = matches!(arguments.verb, Verb::Train(_));
    let outcome = match arguments.verb {
        Verb::Import(a) => commands::import::run(&a),
        Verb::Inspect(a) => commands::inspect::run(&a),
        Verb::Grade(a) => commands::grade::run(&a),
        Verb::Select(a) => commands::run::select(&a),
        Verb::Synth(a) => commands::synth::run(&a),
        Verb::Ledger(a) => commands::ledger::run(&a),
        Verb::Train(a) => commands::train::verb(&a),
        Verb::Eval(a) => commands::eval::run(&a),
        Verb::Score(a) => commands::score::run(&a),
        Verb::Table(a) => commands::table::run(&a),
        Verb::Compare(a) => commands::compare::run(&a),
        Verb::Report(a) => commands::report::run(&a),
        Verb::Export(a) => commands::export::run(&a),
        Verb::Card(a) => commands::card::run(&a),
        Verb::Run(a) => commands::run::run(&a),
        Verb::Convert(a) => commands::convert::run(&a),
        Verb::Generate(a) => commands::generate::run(&a),
        Verb::Chat(a) => commands::chat::run(&a),
        Verb::Pull(a) => commands::pull::run(&a),
        Verb::Logits(a) => commands::logits::run(&a),
        Verb::Equal(a) => commands::equal::run(&a),
        Verb::Sources(a) => commands::sources::run(&a),
        Verb::Sql(a) => commands::sql::run(&a),
        Verb::Serve(a) => commands::serve::run(&a),
        Verb::Studio(a) => commands::studio::run(&a),
        Verb::Cluster(a) => commands::cluster::run(&a),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("math-llava: {}", message(&error));
            // A scheduler that takes its machine back finds everything saved.
            if training && terminate::asked() && is_stop(&error) {
                return ExitCode::SUCCESS;
            }
            ExitCode::from(if sample::interrupt::requested() {
                130
            } else {
                2
            })
        }
    }
}

/// Whether an error is a stop that was asked for, with everything saved, and not a fault.
fn is_stop(error: &anyhow::Error) -> bool {
    let stopped = sample::Error::Interrupted.to_string();
    error.chain().any(|cause| cause.to_string() == stopped)
}

/// What went wrong and why, each reason once: most errors of the libraries say theirs already.
fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(&format!(": {cause}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_given_once() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = anyhow::Error::from(sample::Error::io("out/a", full())).context("in x.toml");
        let said = message(&error);
        assert_eq!(said.matches(&full().to_string()).count(), 1, "{said}");
        assert!(said.starts_with("in x.toml: out/a: "), "{said}");
    }
}
