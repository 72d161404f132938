//! The account that runs an image's command, and its permissions to execute, read and reach files.
//!
//! Sources: image-spec `config.md`, "User", passwd(5), group(5), and path_resolution(7), "Permissions". Names and
//! numbers are resolved to IDs as container engines do: without an entry in `/etc/passwd` the group is 0.

use std::path::Path;

use crate::config::Config;
use crate::tree::{Directory, File, FileContent, Tree};

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// An account that is not root.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Account {
    user: u64,
    groups: Vec<u64>,
}

impl Account {
    /// Returns the account of a configuration. `None` if it is root, which may execute any file that some user
    /// may execute, or if the image does not define the account.
    pub(crate) fn of(config: &Config, tree: &Tree) -> Option<Self> {
        let text = |path: &str| text(tree, path).unwrap_or_default();
        Self::parse(&config.user, &text(PASSWD), &text(GROUP))
    }

    /// Returns the first user or group name of a configuration that the image does not define, and the file
    /// that lacks it. Engines refuse to start such an image. Numbers need no entry.
    pub(crate) fn missing<'a>(config: &'a Config, tree: &Tree) -> Option<(&'a str, &'static str)> {
        let (user, group) = config.user.split_once(':').unwrap_or((&config.user, ""));
        let is_missing = |name: &str, path: &str| {
            let is_name = !matches!(name, "" | "root") && name.parse::<u64>().is_err();
            is_name && text(tree, path).is_some_and(|text| entry(&text, name).is_none())
        };
        let wanted = [(user, PASSWD), (group, GROUP)];
        wanted.into_iter().find(|(name, path)| is_missing(name, path))
    }

    fn parse(wanted: &str, passwd: &str, group: &str) -> Option<Self> {
        let (user, wanted_group) = wanted.split_once(':').unwrap_or((wanted, ""));
        let known = entry(passwd, user);
        let id = |entry: &Option<Vec<&str>>, at: usize| entry.as_ref()?.get(at)?.parse().ok();
        let number = id(&known, 2).or_else(|| user.parse().ok())?;
        let mut groups = Vec::new();
        if wanted_group.is_empty() {
            groups.push(id(&known, 3).unwrap_or(0));
            let name = known.as_ref().map_or(user, |entry| entry[0]);
            let is_member =
                |fields: &Vec<&str>| fields.get(3).is_some_and(|all| all.split(',').any(|one| one == name));
            groups.extend(lines(group).filter(is_member).filter_map(|fields| fields[2].parse::<u64>().ok()));
        } else {
            groups.push(id(&entry(group, wanted_group), 2).or_else(|| wanted_group.parse().ok())?);
        }
        (number != 0).then_some(Self { user: number, groups })
    }

    /// Whether it may execute a file. If the owner is unknown, whether any user may.
    pub(crate) fn may_execute(&self, file: &File) -> bool {
        self.has(0o1, file.mode, file.owner)
    }

    /// Whether it may read a file. If the owner is unknown, whether any user may.
    pub(crate) fn may_read(&self, file: &File) -> bool {
        self.has(0o4, file.mode, file.owner)
    }

    /// Whether it may search a directory. If the owner is unknown, whether any user may.
    pub(crate) fn may_search(&self, directory: &Directory) -> bool {
        self.has(0o1, directory.mode, directory.owner)
    }

    /// Whether it has a permission (one of the last three bits).
    fn has(&self, permission: u32, mode: u32, owner: Option<(u64, u64)>) -> bool {
        let Some((user, group)) = owner else { return mode & (permission * 0o111) != 0 };
        let bits = match () {
            () if user == self.user => mode >> 6,
            () if self.groups.contains(&group) => mode >> 3,
            () => mode,
        };
        bits & permission != 0
    }
}

/// Returns the text of a file, or an empty text if the file does not exist. `None` if the text was not kept.
fn text(tree: &Tree, path: &str) -> Option<String> {
    match tree.file(Path::new(path)) {
        Ok((_, _, File { content: FileContent::Whole(bytes), .. })) => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
        Ok((_, _, file)) => (file.size == 0).then(String::new),
        Err(_) => Some(String::new()),
    }
}

/// Returns the lines of passwd(5) or group(5) that have at least a name, a password and an ID.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.trim_end().split(':').collect::<Vec<_>>()).filter(|fields| fields.len() > 2)
}

/// Returns the entry with a name, or else with an ID.
fn entry<'a>(text: &'a str, wanted: &str) -> Option<Vec<&'a str>> {
    lines(text).find(|fields| fields[0] == wanted).or_else(|| lines(text).find(|fields| fields[2] == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\n";
    const GROUPS: &str = "root:x:0:\napp:x:1001:\ntools:x:50:other,app\n";

    fn account(wanted: &str) -> Option<(u64, Vec<u64>)> {
        Account::parse(wanted, USERS, GROUPS).map(|account| (account.user, account.groups))
    }

    #[test]
    fn an_account_is_what_engines_take_it_for() {
        for wanted in ["", "root", "0", "0:0", "root:app", "nobody", "app:nogroup"] {
            assert_eq!(account(wanted), None, "{wanted:?}");
        }
        for wanted in ["app", "1000"] {
            assert_eq!(account(wanted), Some((1000, vec![1001, 50])), "{wanted:?}");
        }
        assert_eq!(account("app:tools"), Some((1000, vec![50])));
        assert_eq!(account("1000:7"), Some((1000, vec![7])));
        assert_eq!(account("4711"), Some((4711, vec![0])), "without an entry the group is root");
    }

    #[test]
    fn the_most_particular_bit_decides() {
        let app = Account { user: 1000, groups: vec![50] };
        for (owner, mode, expected) in [
            (Some((0, 0)), 0o700, false),
            (Some((0, 0)), 0o744, false),
            (Some((0, 0)), 0o755, true),
            (Some((0, 50)), 0o750, true),
            (Some((0, 50)), 0o705, false),
            (Some((1000, 0)), 0o700, true),
            (Some((1000, 0)), 0o677, false),
            (None, 0o700, true),
        ] {
            let file = File { mode, owner, size: 0, capabilities: false, content: FileContent::Other };
            assert_eq!(app.may_execute(&file), expected, "{owner:?} {mode:o}");
        }
    }
}
