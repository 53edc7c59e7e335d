//! `echogrid completions` and `echogrid man`: what shells and `man` want to know of the command line.

use super::common::{Global, check_output};
use crate::report::write_atomically;
use crate::{Error, Result};
use clap_complete::Shell;
use clap_mangen::Man;
use std::path::PathBuf;

/// Print what a shell needs to complete the command's options
///
/// For bash: `echogrid completions bash > ~/.local/share/bash-completion/completions/echogrid`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// `command` is the whole command line.
pub(super) fn completions(args: &CompletionsArgs, mut command: clap::Command) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "echogrid", &mut text);
    out_raw!("{}", String::from_utf8_lossy(&text));
    Ok(())
}

/// Print the manual page, or write one for each command
///
/// To read it: `echogrid man | man -l -`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Write echogrid.1 and a page a command (echogrid-index.1, ...) into this folder; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// `command` is the whole command line.
pub(super) fn man(global: &Global, args: &ManArgs, command: clap::Command) -> Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let Some(folder) = &args.out else {
        out_raw!("{}", page(command).1);
        return Ok(());
    };
    std::fs::create_dir_all(folder)
        .map_err(|e| Error::file(folder, format!("this folder cannot be made ({e}); name another with --out")))?;
    let mut pages = Vec::new();
    all_pages(&command, &mut pages);
    for (name, text) in &pages {
        let path = folder.join(name);
        check_output(&path)?;
        write_atomically(&path, text.as_bytes())?;
    }
    global.say(format_args!("wrote {} pages into {}", pages.len(), folder.display()));
    Ok(())
}

/// A command's page: the name of its file and its text.
fn page(command: clap::Command) -> (String, String) {
    let man = Man::new(command);
    let mut text = Vec::new();
    man.render(&mut text).expect("memory takes all");
    (man.get_filename(), String::from_utf8_lossy(&text).into_owned())
}

/// The pages of a command and of those below it.
fn all_pages(command: &clap::Command, pages: &mut Vec<(String, String)>) {
    pages.push(page(command.clone()));
    command.get_subcommands().filter(|c| !c.is_hide_set()).for_each(|c| all_pages(c, pages));
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::{Arg, Command, CommandFactory};

    /// Every command, those below others too.
    fn commands(command: &Command) -> Vec<Command> {
        let below = command.get_subcommands().flat_map(commands);
        std::iter::once(command.clone()).chain(below).collect()
    }

    /// How many values an option takes from what was typed; none where it is refused.
    fn typed(arg: &Arg, value: &str) -> Option<usize> {
        let name = arg.get_id().as_str();
        let mut alone = Arg::new("x").long("x").value_parser(arg.get_value_parser().clone()).action(arg.get_action().clone()).num_args(1);
        if let Some(delimiter) = arg.get_value_delimiter() {
            alone = alone.value_delimiter(delimiter);
        }
        let matches = Command::new("t").arg(alone).try_get_matches_from(["t", &format!("--x={value}")]).ok()?;
        let values = matches.get_raw("x").unwrap_or_else(|| panic!("{name} takes no value"));
        Some(values.count())
    }

    /// What help says of defaults, of an option: everything behind `[default: ` up to `;` or `]`.
    fn printed(arg: &Arg) -> Vec<String> {
        let help = arg.get_long_help().or_else(|| arg.get_help()).cloned().unwrap_or_default();
        let alone = Arg::new("x")
            .long("x")
            .num_args(1)
            .help(help)
            .default_values(arg.get_default_values().to_vec())
            .hide_default_value(arg.is_hide_default_value_set());
        let help = Command::new("t").arg(alone).render_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        help.split("[default: ").skip(1).map(|rest| rest.split([';', ']']).next().unwrap_or_default().to_string()).collect()
    }

    #[test]
    fn every_default_can_be_typed_as_it_is_printed() {
        let mut root = Cli::command();
        root.build();
        let (mut seen, mut refused) = (0, Vec::new());
        for command in commands(&root) {
            for arg in command.get_arguments().filter(|a| !a.is_hide_set() && a.get_num_args().is_none_or(|n| n.takes_values())) {
                let by_clap = !arg.get_default_values().is_empty() && !arg.is_hide_default_value_set();
                // A sentence is no value; one word looks like one.
                for default in printed(arg).into_iter().filter(|d| by_clap || !d.contains(' ')) {
                    seen += 1;
                    if typed(arg, &default).is_none() {
                        refused.push(format!("{} {}: [default: {default}]", command.get_name(), arg.get_id()));
                    }
                }
            }
        }
        assert!(seen > 40 && refused.is_empty(), "{seen} defaults; refused: {refused:#?}");
    }

    #[test]
    fn lists_are_one_argument() {
        let mut root = Cli::command();
        root.build();
        let lists: Vec<(String, usize)> = commands(&root)
            .iter()
            .flat_map(|c| c.get_arguments().cloned().collect::<Vec<_>>())
            .filter(|a| a.get_value_delimiter().is_some() && !a.get_default_values().is_empty())
            .map(|a| (printed(&a).concat(), typed(&a, &printed(&a).concat()).unwrap_or(0)))
            .collect();
        assert!(lists.contains(&("200,100,64".into(), 3)) && lists.contains(&("1,2,3".into(), 3)), "{lists:?}");
    }

    #[test]
    fn every_command_has_a_page_and_every_shell_its_completions() {
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        let mut pages = Vec::new();
        all_pages(&command, &mut pages);
        for name in ["echogrid.1", "echogrid-index.1", "echogrid-study-align.1"] {
            let (_, text) = pages.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("{name} is missing"));
            assert!(text.contains(".SH SYNOPSIS") && text.contains("\\-\\-adapter"), "{name}: {text}");
        }
        assert!(pages[0].1.contains("Exit status"), "{}", pages[0].1);
        for shell in <Shell as clap::ValueEnum>::value_variants() {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "echogrid", &mut text);
            assert!(String::from_utf8(text).unwrap().contains("index"), "{shell}");
        }
    }
}
