//! Reading the command line, and what of it puts the environment aside.

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, error::ErrorKind, parser::ValueSource};

use super::{Cli, Command};

impl Cli {
    /// Reads the command line. Ends the process where it asks for help, or cannot be read.
    pub fn read() -> Self {
        let matches = Self::command().get_matches();
        Self::from_arg_matches(&matches)
            .and_then(|cli| cli.settled(&matches))
            .unwrap_or_else(|error| error.format(&mut Self::command()).exit())
    }

    /// `--on` and `--connect` name the same thing: one that is typed puts the other one's variable aside.
    fn settled(mut self, matches: &ArgMatches) -> Result<Self, clap::Error> {
        let typed = |flag: &str| matches.value_source(flag) == Some(ValueSource::CommandLine);
        let conflict = |message: &str| Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
        match (typed("on"), typed("connect")) {
            (true, true) => return conflict("--on and --connect each name a hypervisor: give one of them"),
            (true, false) => self.global.connect = None,
            (false, true) => self.global.on = Vec::new(),
            (false, false) => {}
        }
        let all = matches!(&self.command, Command::List(args) | Command::Vms(args) | Command::Capacity(args) if args.all);
        if all && typed("on") {
            return conflict("--all asks every hypervisor, --on one of them: give one of both");
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hypervisor and connection that count.
    fn read(line: &str) -> Result<(Option<String>, Option<String>), String> {
        let matches = Cli::command().try_get_matches_from(line.split(' ')).unwrap();
        let cli = Cli::from_arg_matches(&matches).unwrap().settled(&matches).map_err(|error| error.to_string())?;
        let on: Vec<String> = cli.global.on.iter().map(ToString::to_string).collect();
        Ok(((!on.is_empty()).then(|| on.join(",")), cli.global.connect))
    }

    #[test]
    fn one_of_both_names_the_hypervisor() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read("tpl --on hv1 list"), Ok((some("hv1"), None)));
        assert_eq!(read("tpl list --on hv1"), Ok((some("hv1"), None)));
        assert_eq!(read("tpl clone --on hv1,hv2 --pack"), Ok((some("hv1,hv2"), None)));
        assert_eq!(read("tpl list --connect test:///default"), Ok((None, some("test:///default"))));
        let both = Err("error: --on and --connect each name a hypervisor: give one of them".to_owned());
        assert_eq!(read("tpl list --connect test:///default --on hv1"), both);
        assert_eq!(read("tpl --connect test:///default list --on hv1"), both);
        let all = Err("error: --all asks every hypervisor, --on one of them: give one of both".to_owned());
        assert_eq!(read("tpl vms --all --on hv1"), all);
    }
}
