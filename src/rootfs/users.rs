//! Users and groups: `/etc/passwd`, `/etc/group` and `/etc/shadow` as values, and what a package's install scripts add
//! to them by `adduser` and `addgroup`, read out of the scripts instead of run.

use std::fmt::Write as _;

use super::shell::commands;
use crate::values::{Id, User};

/// The accounts of a root filesystem. Lines that are there are kept as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    passwd: Vec<String>,
    group: Vec<String>,
    shadow: Vec<String>,
}

/// A folder that `adduser` makes for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// Path below the root.
    pub path: String,
    /// The owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// A user to add, with busybox's `adduser` words.
#[derive(Debug, Default)]
struct AddUser {
    name: String,
    uid: Option<u32>,
    group: Option<String>,
    gecos: Option<String>,
    home: Option<String>,
    shell: Option<String>,
    system: bool,
    no_home: bool,
}

impl Accounts {
    /// The accounts that these three files hold; a missing file is an empty one.
    pub fn parse(passwd: &str, group: &str, shadow: &str) -> Self {
        let lines = |text: &str| text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        Self { passwd: lines(passwd), group: lines(group), shadow: lines(shadow) }
    }

    /// Takes over the lines of one of the three files, `path` below the root; lines of other names that were here stay,
    /// after them.
    pub fn merge(&mut self, path: &str, text: &str) {
        let lines = match path {
            "etc/passwd" => &mut self.passwd,
            "etc/group" => &mut self.group,
            "etc/shadow" => &mut self.shadow,
            _ => return,
        };
        let before = std::mem::replace(lines, text.lines().filter(|l| !l.is_empty()).map(str::to_owned).collect());
        let new = |line: &String| line_of(lines, line.split(':').next().unwrap_or_default()).is_none();
        let others: Vec<_> = before.into_iter().filter(new).collect();
        lines.extend(others);
    }

    /// `/etc/passwd`, `/etc/group` and `/etc/shadow`.
    pub fn files(&self) -> [(&'static str, String); 3] {
        let text = |lines: &[String]| lines.iter().fold(String::new(), |text, line| text + line + "\n");
        [("etc/passwd", text(&self.passwd)), ("etc/group", text(&self.group)), ("etc/shadow", text(&self.shadow))]
    }

    /// The number of a user.
    pub fn uid(&self, name: &str) -> Option<u32> {
        id(&self.passwd, name)
    }

    /// The number of a group.
    pub fn gid(&self, name: &str) -> Option<u32> {
        id(&self.group, name)
    }

    /// The numbers of a user of an image and of its group, as `Config.User` of the OCI image specification has it: without a group,
    /// that of the user's line in `/etc/passwd`, else root's. `None` for a name that is in neither file.
    pub fn owner(&self, user: &User) -> Option<(u32, u32)> {
        let field = |line: &str, at: usize| line.split(':').nth(at)?.parse::<u32>().ok();
        let line = match &user.user {
            Id::Name(name) => Some(line_of(&self.passwd, name)?),
            Id::Number(uid) => self.passwd.iter().map(String::as_str).find(|line| field(line, 2) == Some(*uid)),
        };
        let uid = match &user.user {
            Id::Name(_) => line.and_then(|line| field(line, 2))?,
            Id::Number(uid) => *uid,
        };
        let gid = match &user.group {
            Some(Id::Number(gid)) => *gid,
            Some(Id::Name(name)) => self.gid(name)?,
            None => line.and_then(|line| field(line, 3)).unwrap_or(0),
        };
        Some((uid, gid))
    }

    /// Adds a user and a group of the same name and number, without a password, unless there is a user of that name.
    pub fn add_fixed(&mut self, name: &str, id: u32, gecos: &str, home: &str, shell: &str) {
        if self.uid(name).is_some() {
            return;
        }
        if self.gid(name).is_none() {
            self.group.push(format!("{name}:x:{id}:"));
        }
        self.passwd.push(format!("{name}:x:{id}:{id}:{gecos}:{home}:{shell}"));
        self.shadow.push(format!("{name}:!::0:::::"));
    }

    /// Does what the `adduser` and `addgroup` lines of an install script would do, and gives the home folders that they
    /// would make. `days` is today for `/etc/shadow`, in days since 1970. Plain assignments (`user=redis`) are
    /// followed.
    ///
    /// Alpine's scripts are `addgroup -S x 2>/dev/null; adduser -S -D -H -h /var/lib/x -s /sbin/nologin -G x -g x x`
    /// nearly without exception; whatever else a script does is left undone.
    pub fn apply_script(&mut self, script: &str, days: u64) -> Vec<Home> {
        let mut homes = Vec::new();
        for words in commands(script) {
            let Some(first) = words.first() else { continue };
            match (first.rsplit('/').next().unwrap_or(first), &words[1..]) {
                ("addgroup", args) => self.addgroup(args),
                ("adduser", args) => homes.extend(self.adduser(args, days)),
                _ => {}
            }
        }
        homes
    }

    /// busybox `addgroup [-g GID] [-S] GROUP` or `addgroup USER GROUP`.
    fn addgroup(&mut self, args: &[String]) {
        let mut gid = None;
        let mut system = false;
        let mut names = Vec::new();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "-g" | "--gid" => gid = args.next().and_then(|v| v.parse().ok()),
                "-S" | "--system" => system = true,
                name => names.push(name),
            }
        }
        match names[..] {
            [group] if is_name(group) && self.gid(group).is_none() => {
                let taken = gid.is_some_and(|gid| has_id(&self.group, gid));
                if let Some(gid) = gid.or_else(|| free_id(&[&self.group], system)).filter(|_| !taken) {
                    self.group.push(format!("{group}:x:{gid}:"));
                }
            }
            [user, group] => self.join(user, group),
            _ => {}
        }
    }

    fn join(&mut self, user: &str, group: &str) {
        let Some(line) = self.group.iter_mut().find(|line| line.split(':').next() == Some(group)) else { return };
        let members = line.rsplit(':').next().unwrap_or_default();
        if !members.split(',').any(|member| member == user) {
            let comma = if members.is_empty() { "" } else { "," };
            let _ = write!(line, "{comma}{user}");
        }
    }

    /// busybox `adduser [-h DIR] [-g GECOS] [-s SHELL] [-G GROUP] [-S] [-D] [-H] [-u UID] USER [GROUP]`.
    fn adduser(&mut self, args: &[String], days: u64) -> Option<Home> {
        let mut new = AddUser::default();
        let mut names = Vec::new();
        let mut args = args.iter().flat_map(|arg| short_flags(arg));
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "-h" | "--home" => new.home = args.next(),
                "-g" | "--gecos" => new.gecos = args.next(),
                "-s" | "--shell" => new.shell = args.next(),
                "-G" | "--ingroup" => new.group = args.next(),
                "-u" | "--uid" => new.uid = args.next().and_then(|v| v.parse().ok()),
                "-k" | "--skel" => drop(args.next()),
                "-S" | "--system" => new.system = true,
                "-H" | "--no-create-home" => new.no_home = true,
                "-D" | "--disabled-password" => {}
                _ => names.push(arg),
            }
        }
        match &names[..] {
            [user] if is_name(user) => {
                new.name.clone_from(user);
                self.add(new, days)
            }
            [user, group] => {
                self.join(user, group);
                None
            }
            _ => None,
        }
    }

    fn add(&mut self, new: AddUser, days: u64) -> Option<Home> {
        let AddUser { name, uid, group, gecos, home, shell, system, no_home } = new;
        if self.uid(&name).is_some() || uid.is_some_and(|uid| has_id(&self.passwd, uid)) {
            return None;
        }
        let gid = match &group {
            Some(group) => self.gid(group)?,
            // A system user without a group of its own belongs to nogroup; another gets a group of its name.
            None if system => self.gid("nogroup").unwrap_or(65533),
            None => uid.or_else(|| free_id(&[&self.passwd, &self.group], false))?,
        };
        let uid = uid.or_else(|| free_id(&[&self.passwd], system))?;
        if group.is_none() && !system && self.gid(&name).is_none() {
            self.group.push(format!("{name}:x:{gid}:"));
        }
        let home = home.unwrap_or_else(|| format!("/home/{name}"));
        let gecos = gecos.unwrap_or_else(|| "Linux User,,,".into());
        let shell = shell.unwrap_or_else(|| if system { "/sbin/nologin" } else { "/bin/sh" }.into());
        self.passwd.push(format!("{name}:x:{uid}:{gid}:{gecos}:{home}:{shell}"));
        self.shadow.push(format!("{name}:!:{days}:0:99999:7:::"));
        if let Some(group) = &group {
            self.join(&name, group);
        }
        let path = home.trim_matches('/');
        (!no_home && !path.is_empty() && path != "dev/null").then(|| Home { path: path.to_owned(), uid, gid })
    }
}

/// `-SDH` as `-S`, `-D`, `-H`; anything else as it is.
fn short_flags(arg: &str) -> Vec<String> {
    match arg.strip_prefix('-') {
        Some(flags) if flags.len() > 1 && flags.bytes().all(|b| b.is_ascii_alphabetic()) => {
            flags.chars().map(|flag| format!("-{flag}")).collect()
        }
        _ => vec![arg.to_owned()],
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

fn line_of<'a>(lines: &'a [String], name: &str) -> Option<&'a str> {
    lines.iter().map(String::as_str).find(|line| line.split(':').next() == Some(name))
}

fn id(lines: &[String], name: &str) -> Option<u32> {
    line_of(lines, name)?.split(':').nth(2)?.parse().ok()
}

fn has_id(lines: &[String], id: u32) -> bool {
    lines.iter().any(|line| line.split(':').nth(2).and_then(|v| v.parse().ok()) == Some(id))
}

/// The first number that none of the files has: from 100 for the system's own, from 1000 for people (busybox's ranges).
fn free_id(files: &[&[String]], system: bool) -> Option<u32> {
    let mut range = if system { 100..1000 } else { 1000..60000 };
    range.find(|&id| files.iter().all(|lines| !has_id(lines, id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts::parse(
            "root:x:0:0:root:/root:/bin/sh\n",
            "root:x:0:root\nusers:x:100:games\nnogroup:x:65533:\n",
            "root:*::0:::::\n",
        )
    }

    #[test]
    fn owners_are_found_as_engines_find_them() {
        let accounts = Accounts::parse(
            "root:x:0:0::/root:/bin/sh\nweb:x:33:44::/:/bin/false\n",
            "root:x:0:\nweb:x:44:\nlog:x:5:\n",
            "",
        );
        for (user, owner) in [
            ("web", Some((33, 44))),
            ("33", Some((33, 44))),
            ("web:log", Some((33, 5))),
            ("65532:65532", Some((65532, 65532))),
            ("65532", Some((65532, 0))),
            ("7:web", Some((7, 44))),
            ("nobody", None),
            ("web:nobody", None),
        ] {
            assert_eq!(accounts.owner(&user.parse().expect("a user")), owner, "{user}");
        }
    }

    #[test]
    fn scripts_of_alpine_are_understood() {
        let mut accounts = accounts();
        let script = "#!/bin/sh\n\nuser=dhcpcd\ngroup=dhcpcd\n\naddgroup -S $group 2>/dev/null\n\
                      adduser -S -D -H -h /var/lib/$user -s /sbin/nologin -G $group -g $user $user 2>/dev/null\n\nexit 0\n";
        assert_eq!(accounts.apply_script(script, 7), []);
        assert_eq!(accounts.passwd[1], "dhcpcd:x:100:101:dhcpcd:/var/lib/dhcpcd:/sbin/nologin");
        assert_eq!(accounts.group[3], "dhcpcd:x:101:dhcpcd");
        assert_eq!(accounts.shadow[1], "dhcpcd:!:7:0:99999:7:::");
        let before = accounts.clone();
        accounts.apply_script(script, 7);
        assert_eq!(accounts, before, "a second run changes nothing");
    }

    #[test]
    fn forms_of_adduser() {
        for (script, passwd, group) in [
            ("addgroup -S -g 42 shadow || true", "root:x:0:0:root:/root:/bin/sh", "shadow:x:42:"),
            ("adduser -SDH -u 70 -h /v -s /bin/sh -g \"A B\" x", "x:x:70:65533:A B:/v:/bin/sh", "nogroup:x:65533:"),
            ("getent group y >/dev/null || addgroup -S y", "root:x:0:0:root:/root:/bin/sh", "y:x:101:"),
            ("adduser -D person", "person:x:1000:1000:Linux User,,,:/home/person:/bin/sh", "person:x:1000:"),
            ("/usr/sbin/addgroup -S z; addgroup root z", "root:x:0:0:root:/root:/bin/sh", "z:x:101:root"),
            ("adduser -S -G missing w", "root:x:0:0:root:/root:/bin/sh", "nogroup:x:65533:"),
            ("# adduser -S commented", "root:x:0:0:root:/root:/bin/sh", "nogroup:x:65533:"),
            ("adduser \"$undefined\"; adduser -h", "root:x:0:0:root:/root:/bin/sh", "nogroup:x:65533:"),
        ] {
            let mut accounts = accounts();
            accounts.apply_script(script, 0);
            assert_eq!(accounts.passwd.last().map(String::as_str), Some(passwd), "{script}");
            assert_eq!(accounts.group.last().map(String::as_str), Some(group), "{script}");
        }
    }

    #[test]
    fn homes_are_made_unless_told_not_to() {
        let homes =
            accounts().apply_script("adduser -S -D -h /var/lib/x x\nadduser -S -D -H y\nadduser -S -h /dev/null z", 0);
        assert_eq!(homes, [Home { path: "var/lib/x".into(), uid: 100, gid: 65533 }]);
    }
}
