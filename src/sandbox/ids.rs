//! Whom a command runs as: the `User` of an image's configuration, looked up in the image's own files.

use std::{io, path::Path};

use super::paths;
use crate::error::{Explain, Kind};

/// The longest `/etc/passwd` that is read.
const LIMIT: u64 = 4 << 20;

/// A user as the kernel knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ids {
    /// The user's number.
    pub uid: u32,
    /// The group's.
    pub gid: u32,
    /// Those of the other groups that the user is in.
    pub groups: Vec<u32>,
    /// The user's home, which becomes `HOME` where the environment has none.
    pub home: Option<String>,
}

/// A user or group that an image's files do not name.
#[derive(Debug, thiserror::Error)]
pub enum IdsError {
    /// There is no such name.
    #[error("the image's {file} has no {kind} `{name}`")]
    Unknown {
        /// `user`, `group`.
        kind: &'static str,
        /// The name.
        name: String,
        /// Where it was looked for.
        file: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read {file} of the image: {source}")]
    Io {
        /// The file.
        file: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl Explain for IdsError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unknown { .. } => Kind::Usage,
            Self::Io { .. } => Kind::Build,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { .. } => Some("a number works without a name: --user 1000:1000".into()),
            Self::Io { .. } => None,
        }
    }
}

impl Ids {
    /// Whom `user` means in the root filesystem `root`, as `Config.User` of the OCI image specification has it: `user`,
    /// `uid`, `user:group`, `uid:gid`, each half a name or a number; nothing is root. Without a group, the user's own
    /// ones count.
    ///
    /// # Errors
    /// When a name is not found, or a file cannot be read.
    pub fn of(user: &str, root: &Path) -> Result<Self, IdsError> {
        let read = |file| paths::read(root, file, LIMIT).map_err(|source| IdsError::Io { file, source });
        Self::find(user, &read("/etc/passwd")?, &read("/etc/group")?)
    }

    /// Whom `user` means, where `passwd` and `group` are the texts of the image's files.
    ///
    /// # Errors
    /// When a name is not found.
    pub fn find(user: &str, passwd: &str, group: &str) -> Result<Self, IdsError> {
        let (user, named_group) = match user.split_once(':') {
            Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
            None => (user, None),
        };
        let user = if user.is_empty() { "0" } else { user };
        let account = match user.parse::<u32>() {
            Ok(uid) => accounts(passwd).find(|account| account.uid == uid).unwrap_or_else(|| Account::nameless(uid)),
            Err(_) => accounts(passwd).find(|account| account.name == user).ok_or_else(|| IdsError::Unknown {
                kind: "user",
                name: user.to_owned(),
                file: "/etc/passwd",
            })?,
        };
        let home = Some(account.home).filter(|home| home.starts_with('/')).map(str::to_owned);
        let Some(name) = named_group else {
            let member =
                |group: &Group| group.gid != account.gid && group.members.split(',').any(|m| m == account.name);
            let groups = groups(group).filter(member).map(|group| group.gid).collect();
            return Ok(Self { uid: account.uid, gid: account.gid, groups, home });
        };
        let unknown = || IdsError::Unknown { kind: "group", name: name.to_owned(), file: "/etc/group" };
        let gid = match name.parse() {
            Ok(gid) => gid,
            Err(_) => groups(group).find(|group| group.name == name).ok_or_else(unknown)?.gid,
        };
        Ok(Self { uid: account.uid, gid, groups: Vec::new(), home })
    }
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl Account<'_> {
    /// One that no line names. No member of a group can have its name.
    fn nameless(uid: u32) -> Self {
        Self { name: ":", uid, gid: 0, home: "/" }
    }
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// The valid lines of passwd(5).
fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let mut fields = fields.skip(1);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Account { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    })
}

/// What passwd(5) calls the user `uid`.
pub(super) fn name_of(passwd: &str, uid: u32) -> Option<String> {
    accounts(passwd).find(|account| account.uid == uid).map(|account| account.name.to_owned())
}

/// The valid lines of group(5).
fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(Group { name, gid, members: fields.next().unwrap_or_default() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1001:a:/home/node:/bin/sh\nbad:x:many:0\nshort\n\
                          nonroot:x:65532:65532::/home/nonroot:/sbin/nologin\nbare:x:7:8\n";
    const GROUP: &str =
        "root:x:0:root\nnode:x:1001:node\nstaff:x:50:root,node\naudio:x:18:nodes\nwheel:x:10:root,nonroot\n";

    #[test]
    fn users_are_looked_up() {
        for (user, expected) in [
            ("", (0, 0, vec![50, 10], Some("/root"))),
            ("root", (0, 0, vec![50, 10], Some("/root"))),
            ("node", (1000, 1001, vec![50], Some("/home/node"))),
            ("node:", (1000, 1001, vec![50], Some("/home/node"))),
            ("1000", (1000, 1001, vec![50], Some("/home/node"))),
            ("node:staff", (1000, 50, vec![], Some("/home/node"))),
            ("65532:65532", (65532, 65532, vec![], Some("/home/nonroot"))),
            ("7:audio", (7, 18, vec![], None)),
            ("12345", (12345, 0, vec![], Some("/"))),
            (":staff", (0, 50, vec![], Some("/root"))),
            ("4294967295", (u32::MAX, 0, vec![], Some("/"))),
        ] {
            let found = Ids::find(user, PASSWD, GROUP).unwrap_or_else(|e| panic!("{user}: {e}"));
            let (uid, gid, groups, home) = expected;
            assert_eq!(found, Ids { uid, gid, groups, home: home.map(str::to_owned) }, "{user}");
        }
    }

    #[test]
    fn names_that_are_not_there_are_told() {
        for (user, expected) in [
            ("nod", "the image's /etc/passwd has no user `nod`"),
            ("bad", "the image's /etc/passwd has no user `bad`"),
            ("-1", "the image's /etc/passwd has no user `-1`"),
            ("4294967296", "the image's /etc/passwd has no user `4294967296`"),
            ("node:staf", "the image's /etc/group has no group `staf`"),
            ("0:a:b", "the image's /etc/group has no group `a:b`"),
        ] {
            assert_eq!(Ids::find(user, PASSWD, GROUP).expect_err(user).to_string(), expected);
        }
    }
}
