//! Plans a partial mirror: a volume for each share, and a binding for everything else that is mounted inside a share.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::error::Error;
use super::mount_table::{Mount, lies_in, parse};
use super::plan::{MountStep, Plan, THROUGH, is_kernels, is_mirror};
use super::share::is_network;

/// File systems in memory. A mirror of them gains nothing.
const MEMORY: &[&str] = &["ramfs", "tmpfs"];

impl Plan {
    /// Plans the mirrors of shares. `further` are resolved paths. `sockets` are directories that are bound where a
    /// share contains them. Places for which `exists` returns false are not bound.
    ///
    /// The steps are in the order of their paths, so that a mount is made before the mounts inside it.
    ///
    /// # Errors
    ///
    /// If a further share is a file system of the kernel, or inside a mirror.
    pub(super) fn of_shares(
        table: &[u8],
        network: bool,
        further: &[PathBuf],
        sockets: &[PathBuf],
        exists: impl Fn(&[u8]) -> bool,
    ) -> Result<Self, Error> {
        let all = parse(table);
        let mirrors: Vec<&Mount> = all.iter().filter(|mount| is_mirror(mount)).collect();
        let is_outside = |place: &[u8]| !mirrors.iter().any(|mirror| lies_in(place, &mirror.place));
        let mounts: Vec<&Mount> = all.iter().filter(|mount| is_outside(&mount.place)).collect();
        let wanted =
            Wanted { network, further, everything: further.iter().any(|path| path.parent().is_none()) };
        let mut shares: BTreeMap<&[u8], Mount> = mounts
            .iter()
            .filter(|mount| wanted.is_share(mount))
            .map(|mount| (&*mount.place, (*mount).clone()))
            .collect();
        let mut named: Vec<&[u8]> = further.iter().map(|path| path.as_os_str().as_bytes()).collect();
        // A directory comes before the directories inside it.
        named.sort_unstable();
        for place in named {
            let around = around(&mounts, place).filter(|mount| is_outside(place) && !is_kernels(mount));
            let around = around.ok_or_else(|| not_mirrored(place))?;
            if !is_covered(&shares, &mounts, place) {
                shares.insert(place, directory_of(around, place));
            }
        }
        let bound = mounts.iter().map(|mount| &*mount.place);
        let bound = bound.chain(sockets.iter().map(|path| path.as_os_str().as_bytes()));
        let through = THROUGH.iter().map(|place| place.as_bytes());
        let bound = bound.chain(through).filter(|place| !shares.contains_key(place));
        Ok(Self { steps: steps(&shares, bound.filter(|place| exists(place)).collect()) })
    }
}

/// The wanted shares.
struct Wanted<'a> {
    network: bool,
    further: &'a [PathBuf],
    /// Whether `/` is among the further shares.
    everything: bool,
}

impl Wanted<'_> {
    /// Whether a mount is a share.
    fn is_share(&self, mount: &Mount) -> bool {
        let is_memory = || MEMORY.iter().any(|kind| kind.as_bytes() == mount.kind);
        let is_named = || self.further.iter().any(|path| path.as_os_str().as_bytes() == mount.place);
        let is_inside = || !THROUGH.iter().any(|place| lies_in(&mount.place, place.as_bytes()));
        !is_kernels(mount)
            && (is_named()
                || (self.network && is_network(&mount.kind))
                || (self.everything && is_inside() && !is_memory()))
    }
}

/// The mount that contains a place.
fn around<'a>(mounts: &[&'a Mount], place: &[u8]) -> Option<&'a Mount> {
    let containing = mounts.iter().filter(|mount| lies_in(place, &mount.place));
    containing.max_by_key(|mount| mount.place.len()).copied()
}

/// Whether a share already contains this place, without another mount between them.
fn is_covered(shares: &BTreeMap<&[u8], Mount>, mounts: &[&Mount], place: &[u8]) -> bool {
    let Some(around) = around(mounts, place) else { return false };
    shares.values().any(|share| share.number == around.number && lies_in(place, &share.place))
}

/// The part of a mount that a directory of it shows.
fn directory_of(around: &Mount, place: &[u8]) -> Mount {
    let inside = place.strip_prefix(&*around.place).unwrap_or(place);
    let inside = inside.strip_prefix(b"/").unwrap_or(inside);
    let mut root = around.root.clone();
    if root.last() != Some(&b'/') {
        root.push(b'/');
    }
    root.extend_from_slice(inside);
    Mount { root, place: place.to_vec(), parent: around.number, ..around.clone() }
}

/// Adds a binding for each place that would otherwise be covered by the mirror of a share. The binding of a place
/// includes everything mounted inside it.
fn steps(shares: &BTreeMap<&[u8], Mount>, bound: Vec<&[u8]>) -> Vec<MountStep> {
    let mut places: Vec<&[u8]> = shares.keys().copied().chain(bound).collect();
    places.sort_unstable();
    places.dedup();
    let mut steps: Vec<(&[u8], MountStep)> = Vec::new();
    for place in places {
        let share = shares.get(place).cloned().map(MountStep::Mirror);
        let around =
            steps.iter().filter(|(outer, _)| lies_in(place, outer)).max_by_key(|(outer, _)| outer.len());
        let is_hidden = matches!(around, Some((_, MountStep::Mirror(_))));
        let step = share.or_else(|| is_hidden.then(|| MountStep::Bind(place.to_vec())));
        steps.extend(step.map(|step| (place, step)));
    }
    steps.into_iter().map(|(_, step)| step).collect()
}

fn not_mirrored(place: &[u8]) -> Error {
    let source = io::Error::other("it is part of a file system of the kernel or of a mirror");
    Error::Share { path: super::shown(place).to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
27 1 254:0 / / rw - ext4 /dev/vda rw
22 27 0:21 / /proc rw - proc proc rw
24 27 0:6 / /dev rw - devtmpfs dev rw
28 27 0:30 / /tmp rw - tmpfs tmp rw
29 27 254:1 /home /home rw,nosuid - ext4 /dev/vdb rw
30 27 0:50 / /data rw - nfs4 server:/data rw
31 30 0:51 / /data/scratch rw - tmpfs scratch rw
32 31 0:52 / /data/scratch/lustre rw - lustre mgs:/l rw
33 30 0:53 / /data/home rw - nfs4 server:/home rw
34 27 0:54 / /srv/mirror rw - fuse.compat root rw
35 34 0:55 / /srv/mirror/data rw - fuse.compat server rw
36 27 0:56 / /remote rw - fuse.sshfs host: rw
";

    fn plan(network: bool, further: &[&str]) -> Result<Plan, Error> {
        let further: Vec<PathBuf> = further.iter().map(PathBuf::from).collect();
        let sockets = ["/home/me/agent".into(), "/data/agent".into(), "/data/gone".into()];
        Plan::of_shares(TABLE, network, &further, &sockets, |place| {
            place != b"/data/gone" && place != b"/sys"
        })
    }

    fn steps_of(network: bool, further: &[&str]) -> Vec<String> {
        let text = |step: &MountStep| match step {
            MountStep::Mirror(mount) => format!("mirror {}", String::from_utf8_lossy(&mount.place)),
            MountStep::Again { mount, .. } => format!("again {}", String::from_utf8_lossy(&mount.place)),
            MountStep::Bind(place) => format!("bind {}", String::from_utf8_lossy(place)),
        };
        plan(network, further).expect("they can be mirrored").steps.iter().map(text).collect()
    }

    #[test]
    fn network_file_systems_are_mirrored_and_mounts_inside_them_bound() {
        assert_eq!(
            steps_of(true, &[]),
            [
                "mirror /data",
                "bind /data/agent",
                "mirror /data/home",
                "bind /data/scratch",
                "mirror /data/scratch/lustre",
                "mirror /remote",
            ]
        );
        assert_eq!(steps_of(false, &[]), [""; 0]);
    }

    #[test]
    fn a_directory_is_a_share_and_one_inside_another_is_merged() {
        assert_eq!(
            steps_of(false, &["/home/me", "/home", "/opt/a/b", "/opt/a", "/opt/ab"]),
            ["mirror /home", "bind /home/me/agent", "mirror /opt/a", "mirror /opt/ab"]
        );
        let plan = plan(false, &["/home/me", "/opt"]).expect("they can be mirrored");
        let roots: Vec<_> = plan.mirrors().map(|mount| (&*mount.root, mount.device, mount.number)).collect();
        assert_eq!(roots, [(&b"/home/me"[..], (254, 1), 29), (&b"/opt"[..], (254, 0), 27)]);
    }

    #[test]
    fn a_directory_in_a_network_file_system_is_part_of_that_share() {
        assert_eq!(steps_of(true, &["/remote/sub"]), steps_of(true, &[]));
        assert_eq!(
            steps_of(false, &["/data/software", "/data/scratch/x"]),
            ["mirror /data/scratch/x", "mirror /data/software"]
        );
        assert_eq!(
            steps_of(false, &["/data", "/data/scratch/x"]),
            [
                "mirror /data",
                "bind /data/agent",
                "bind /data/home",
                "bind /data/scratch",
                "mirror /data/scratch/x"
            ]
        );
    }

    #[test]
    fn the_root_stands_for_everything_but_the_kernels_and_memory() {
        assert_eq!(
            steps_of(false, &["/"]),
            [
                "mirror /",
                "mirror /data",
                "bind /data/agent",
                "mirror /data/home",
                "bind /data/scratch",
                "mirror /data/scratch/lustre",
                "bind /dev",
                "mirror /home",
                "bind /home/me/agent",
                "bind /proc",
                "mirror /remote",
                "bind /run",
                "bind /tmp",
            ]
        );
    }

    #[test]
    fn a_root_on_the_network_is_mirrored_and_local_file_systems_bound() {
        let table = b"1 0 0:1 / / rw - nfs server:/root rw\n2 1 0:2 / /proc rw - proc proc rw\n\
            3 1 254:0 / /var rw - ext4 /dev/vda rw\n4 3 0:5 / /var/nfs rw - nfs server:/var rw\n";
        let plan = Plan::of_shares(table, true, &[], &[], |place| place == b"/proc" || place == b"/var");
        let steps = plan.expect("they can be mirrored").steps;
        let is_mirror: Vec<bool> = steps.iter().map(|step| matches!(step, MountStep::Mirror(_))).collect();
        assert_eq!(is_mirror, [true, false, false, true]);
    }

    #[test]
    fn the_kernels_file_systems_and_mirrors_are_no_shares() {
        for place in ["/proc/self", "/dev", "/srv/mirror/data", "/srv/mirror"] {
            let error = plan(true, &[place]).expect_err("it is refused");
            assert_eq!(error.to_string(), format!("could not mirror the share {place}"));
        }
    }
}
