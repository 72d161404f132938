//! A combination: a user has looked at a file, root changes it outside, and a moment later the user acts.

use std::time::Duration;

/// The identities and groups of `fixtures/privilege.py`.
pub const A: u32 = 1301;
pub const B: u32 = 1302;

/// An action of a user.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub name: &'static str,
    /// The file of the action, `{t}` in scripts.
    pub target: &'static str,
    /// The first part of the action, before the change.
    pub before: &'static str,
    pub act: &'static str,
}

/// Owners and rights before the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// The user owns everything.
    Own,
    /// Another user owns everything, and anybody may do anything.
    Anybody,
    /// Another user owns everything. The user's supplementary group may do anything.
    Group,
    /// Another user owns everything. An access control list lets the user do anything.
    List,
    /// The user's files in a sticky directory of root.
    Sticky,
    /// Another user owns everything and lets nobody do anything.
    Nobody,
    /// The user's directory contains files of root with the set-user-ID bit.
    SetId,
}

/// Owners and modes of a setup.
struct Rights {
    top: &'static str,
    owner: &'static str,
    directory: &'static str,
    sub: &'static str,
    file: &'static str,
}

impl Setup {
    fn rights(self) -> Rights {
        let of = |owner, directory, file| Rights { top: owner, owner, directory, sub: directory, file };
        match self {
            Self::Own => of("{me} {me}", "755", "644"),
            Self::Anybody => of("{them} {them}", "777", "666"),
            Self::Group => of("{them} 1400", "770", "660"),
            Self::List | Self::Nobody => of("{them} {them}", "700", "600"),
            Self::SetId => {
                Rights { owner: "{high} {high}", sub: "4755", file: "4755", ..of("{me} {me}", "755", "") }
            }
            Self::Sticky => Rights { top: "0 0", directory: "1777", ..of("{me} {me}", "755", "644") },
        }
    }
}

/// A change by root in between.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub name: &'static str,
    pub setup: Setup,
    /// In the script, `{t}` is the operation's file, `{me}` the actor and `{them}` another user. `{high}` is
    /// root, or another user if the actor is root without its rights.
    pub script: &'static str,
}

/// The only change that root does not make: the process drops a supplementary group.
pub const GROUP_DROPPED: &str = "the process leaves its group";

/// An identity that acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Its letter in `fixtures/privilege.py`.
    pub identity: &'static str,
    pub user: u32,
}

/// A look before the change, which fills the kernel's cache.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub name: &'static str,
    script: &'static str,
    /// The identity that looks, if it is not the actor itself.
    another: Option<&'static str>,
}

const fn look(name: &'static str, script: &'static str) -> Look {
    Look { name, script, another: None }
}

const OPEN: &str = "stat {t}; stat e/g; open {t} RDONLY; read; close; open d RDONLY|DIRECTORY; close;
    open d/sub RDONLY|DIRECTORY; close";

/// All looks.
pub const LOOKS: [Look; 5] = [
    look(
        "stat",
        "stat .; stat d; stat e; stat e/g; stat d/f; lstat d/l; stat d/l; stat d/sub; lstat {t}; stat d/new",
    ),
    look("list", "list .; list d; list e; list d/sub; lstat {t}"),
    look("open", OPEN),
    look(
        "access",
        "access d rwx; access d/sub wx; access {t} r; access {t} w; access e w; readlink d/l;
            getxattr d system.posix_acl_access; getxattr {t} system.posix_acl_access",
    ),
    Look { another: Some("b"), ..look("another opens", OPEN) },
];

/// The times between the change and the user's action, in milliseconds.
pub const DELAYS: [u64; 6] = [0, 1, 50, 400, 900, 1200];

/// One combination.
#[derive(Clone, Copy, Debug)]
pub struct Combination {
    pub operation: Operation,
    pub change: Change,
    pub actor: Actor,
    pub delay: Duration,
    pub look: Look,
}

impl Combination {
    /// Returns the name, by which the combination can be selected.
    pub fn name(&self) -> String {
        let Self { operation, change, actor, delay, look } = self;
        format!(
            "{} × {} × {} ms × {} × as {}",
            operation.name,
            change.name,
            delay.as_millis(),
            look.name,
            actor.identity
        )
    }

    /// Whether the combination makes sense. If only the file changes, the operation must concern that file.
    pub fn is_sensible(&self) -> bool {
        let Self { operation, change, actor, .. } = self;
        let touches = |script: &str| script.contains("{t}");
        let about = touches(operation.act) || touches(operation.before);
        let is_link = operation.target == "d/l";
        // A link has no flags, mode or list.
        let fits =
            !is_link || !["flag", "setacl", "chmod {t}"].iter().any(|word| change.script.contains(word));
        let is_group = change.name == GROUP_DROPPED;
        (about || !touches(change.script)) && fits && (!is_group || actor.identity == "a")
    }

    fn fill(&self, script: &str) -> String {
        let me = self.actor.user;
        let high = if me == 0 { B } else { 0 };
        script
            .replace("{t}", self.operation.target)
            .replace("{me}", &me.to_string())
            .replace("{them}", &B.to_string())
            .replace("{high}", &high.to_string())
    }

    /// Returns the identity that acts. An actor that leaves a group is the same user, but with the right to
    /// change groups.
    pub fn identity(&self) -> &'static str {
        if self.change.name == GROUP_DROPPED { "g" } else { self.actor.identity }
    }

    fn groups(&self, groups: &str) -> String {
        if self.change.name == GROUP_DROPPED { format!("groups {groups};") } else { String::new() }
    }

    /// Returns root's script of preparations.
    pub fn setup(&self) -> String {
        let Rights { top, owner, directory, sub, file } = self.change.setup.rights();
        let mut script = format!(
            "dir . 0 0 755; dir d {top} {directory}; dir e {{me}} {{me}} 777; make e/g {{me}} {{me}} 644 of-e;
            dir d/sub {owner} {sub}; make d/f {owner} {file} of-f; setxattr d/f user.s s;
            points d/l f; lchown d/l {owner}; "
        );
        let program = self.operation.target == "d/x";
        if program {
            script += &format!("program d/x {owner} {sub}; ");
        }
        if self.change.setup == Setup::List {
            for path in ["d", "d/sub", "d/f", "d/x"] {
                if path != "d/x" || program {
                    script += &format!("setacl {path} u.7,U.7.{{me}},g.0,m.7,o.0; ");
                }
            }
        }
        self.fill(&script)
    }

    /// Returns the identity that looks first, and its script.
    pub fn look(&self) -> (&'static str, String) {
        let who = self.look.another.unwrap_or_else(|| self.identity());
        let groups = if self.look.another.is_none() { self.groups("1400") } else { String::new() };
        (who, self.fill(&format!("{groups}{}", self.look.script)))
    }

    /// Returns the user's script before the change.
    pub fn before(&self) -> String {
        self.fill(&format!("{}{}", self.groups("1400"), self.operation.before))
    }

    /// Returns root's script of the change.
    pub fn change(&self) -> String {
        self.fill(self.change.script)
    }

    /// Returns the user's last script.
    pub fn act(&self) -> String {
        self.fill(&format!("{}{}", self.groups(""), self.operation.act))
    }
}
