//! Merging of layers: every rule of whiteouts and replacements (image-spec `layer.md`).

use super::{Tar, at, merged, tree};

#[test]
fn an_upper_file_hides_a_lower_one_and_directories_are_joined() {
    let lower = Tar::new().directory("a/").file("a/x", "#!lower").file("a/y", "#!lower");
    let upper = Tar::new().directory("a/").file("a/x", "#!upper");
    assert_eq!(merged(vec![lower, upper]), ["/a/", "/a/x #!upper", "/a/y #!lower"]);
}

#[test]
fn a_whiteout_hides_lower_layers_and_not_its_own() {
    let lower = || Tar::new().file("a/x", "#!lower").file("a/sub/y", "#!lower").file("a/z", "#!lower");
    let upper = Tar::new().file("a/.wh.x", "").file("a/.wh.sub", "");
    assert_eq!(merged(vec![lower(), upper]), ["/a/", "/a/z #!lower"]);
    // Before or after the entries that the same layer puts there.
    for upper in [
        Tar::new()
            .file("a/.wh.x", "")
            .file("a/x", "#!upper")
            .file("a/.wh.sub", "")
            .file("a/sub/new", "#!upper"),
        Tar::new()
            .file("a/x", "#!upper")
            .file("a/.wh.x", "")
            .file("a/sub/new", "#!upper")
            .file("a/.wh.sub", ""),
    ] {
        let expected = ["/a/", "/a/sub/", "/a/sub/new #!upper", "/a/x #!upper", "/a/z #!lower"];
        assert_eq!(merged(vec![lower(), upper]), expected);
    }
}

#[test]
fn an_opaque_directory_hides_what_lower_layers_have_in_it_wherever_it_stands() {
    let lower = || Tar::new().file("a/x", "#!lower").file("a/sub/y", "#!lower").file("b", "#!lower");
    for upper in [
        Tar::new().directory("a/").file("a/.wh..wh..opq", "").file("a/new", "#!upper"),
        Tar::new().file("a/new", "#!upper").file("a/.wh..wh..opq", ""),
    ] {
        assert_eq!(merged(vec![lower(), upper]), ["/a/", "/a/new #!upper", "/b #!lower"]);
    }
    assert_eq!(
        merged(vec![lower(), Tar::new().file(".wh..wh..opq", "").file("c", "#!upper")]),
        ["/c #!upper"]
    );
}

#[test]
fn what_was_hidden_in_the_middle_stays_hidden() {
    let bottom = || Tar::new().file("a/bottom", "#!bottom");
    let top = || Tar::new().file("a/top", "#!top");
    for middle in [Tar::new().file(".wh.a", ""), Tar::new().file("a", "#!a file"), Tar::new().link("a", "b")]
    {
        assert_eq!(merged(vec![bottom(), middle, top()]), ["/a/", "/a/top #!top"]);
    }
    let opaque = Tar::new().file("a/.wh..wh..opq", "").file("a/middle", "#!middle");
    assert_eq!(merged(vec![bottom(), opaque, top()]), ["/a/", "/a/middle #!middle", "/a/top #!top"]);
    // Hidden, then present again in a layer in between.
    let again = Tar::new().file("a/again", "#!again");
    let layers = vec![bottom(), Tar::new().file(".wh.a", ""), again, Tar::new().file("b", "#!top")];
    assert_eq!(merged(layers), ["/a/", "/a/again #!again", "/b #!top"]);
}

#[test]
fn a_file_replaces_a_directory_and_a_directory_a_file() {
    let directory = || Tar::new().directory("a").file("a/x", "#!x");
    let file = || Tar::new().file("a", "#!file");
    assert_eq!(merged(vec![directory(), file()]), ["/a #!file"]);
    assert_eq!(merged(vec![file(), directory()]), ["/a/", "/a/x #!x"]);
    assert_eq!(merged(vec![directory(), Tar::new().link("a", "/b")]), ["/a -> /b"]);
}

#[test]
fn a_directory_of_an_upper_layer_hides_a_lower_link_as_on_overlayfs() {
    let lower = Tar::new().file("usr/lib/x", "#!lower").link("lib", "usr/lib");
    let upper = Tar::new().file("lib/new", "#!upper");
    assert_eq!(
        merged(vec![lower, upper]),
        ["/lib/", "/lib/new #!upper", "/usr/", "/usr/lib/", "/usr/lib/x #!lower"]
    );
}

#[test]
fn a_link_of_the_same_layer_is_followed_inside_the_root() {
    let layer =
        Tar::new().link("lib", "../../usr/lib").file("lib/x", "#!x").link("abs", "/usr").file("abs/y", "#!y");
    let expected =
        ["/abs -> /usr", "/lib -> ../../usr/lib", "/usr/", "/usr/lib/", "/usr/lib/x #!x", "/usr/y #!y"];
    assert_eq!(merged(vec![layer]), expected);
}

#[test]
fn the_later_of_two_entries_of_one_layer_counts() {
    let twice = Tar::new().file("a", "#!first").file("a", "#!second");
    assert_eq!(merged(vec![twice]), ["/a #!second"]);
    let directory_first = Tar::new().directory("a").file("a/x", "#!x").file("a", "#!file");
    assert_eq!(merged(vec![directory_first]), ["/a #!file"]);
    let file_first = Tar::new().file("a", "#!file").directory("a").file("a/x", "#!x");
    assert_eq!(merged(vec![file_first]), ["/a/", "/a/x #!x"]);
    // The directory belongs to an upper layer. The lower layer replaces its own content of it with a file.
    let lower = Tar::new().file("a/x", "#!lower").file("a", "#!file");
    assert_eq!(merged(vec![lower, Tar::new().file("a/top", "#!top")]), ["/a/", "/a/top #!top"]);
}

#[test]
fn hard_links_share_a_file() {
    let layer = Tar::new().file("bin/a", "#!a").hard_link("bin/b", "bin/a").hard_link("/bin/c", "./bin/b");
    let tree = tree(&[layer.end()]).unwrap();
    let identity = |path: &str| tree.file(at(path)).unwrap().1;
    assert!(identity("/bin/a") == identity("/bin/b") && identity("/bin/a") == identity("/bin/c"));
    let link = Tar::new().link("a", "target").hard_link("b", "a");
    assert_eq!(merged(vec![link]), ["/a -> target", "/b -> target"]);
}

#[test]
fn a_hard_link_keeps_its_file_when_the_other_name_is_replaced() {
    let layer = Tar::new().file("a", "#!old").hard_link("b", "a").file("a", "#!new");
    assert_eq!(merged(vec![layer]), ["/a #!new", "/b #!old"]);
    // An upper layer hides the name that the content came with.
    let lower = || Tar::new().file("a", "#!lower").hard_link("b", "a").hard_link("c", "b");
    assert_eq!(
        merged(vec![lower(), Tar::new().file("a", "#!upper")]),
        ["/a #!upper", "/b #!lower", "/c #!lower"]
    );
    assert_eq!(merged(vec![lower(), Tar::new().file(".wh.a", "").file(".wh.b", "")]), ["/c #!lower"]);
}

#[test]
fn a_hard_link_to_a_file_of_a_lower_layer_finds_it() {
    let bottom = Tar::new().file("a", "#!bottom");
    let upper = Tar::new().hard_link("b", "a");
    assert_eq!(
        merged(vec![bottom, Tar::new().file("x", "#!x"), upper]),
        ["/a #!bottom", "/b #!bottom", "/x #!x"]
    );
    let chain = Tar::new().file("z", "#!z").hard_link("a", "z");
    assert_eq!(merged(vec![chain, Tar::new().hard_link("b", "a").file(".wh.a", "")]), ["/b #!z", "/z #!z"]);
}

#[test]
fn what_a_file_is_allowed_to_do_is_kept() {
    let capability = [("SCHILY.xattr.security.capability", &b"\x01\0\0\x02"[..])];
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o4755);
    header.set_size(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_path("bin/su").unwrap();
    header.set_cksum();
    let layer = Tar::new().pax(&capability).file("bin/ping", "x").push(&header, b"").file("bin/ls", "x");
    let tree = tree(&[layer.end()]).unwrap();
    let file = |path: &str| tree.file(at(path)).unwrap().2.clone();
    assert!(file("/bin/ping").capabilities && file("/bin/ping").is_privileged());
    assert!(file("/bin/su").mode == 0o4755 && file("/bin/su").is_privileged());
    assert!(!file("/bin/ls").is_privileged() && file("/bin/ls").is_executable());
}

#[test]
fn long_names_of_both_kinds_and_old_directories_are_read() {
    let long = format!("usr/{}/x", "n".repeat(200));
    let pax = Tar::new().pax(&[("path", long.as_bytes()), ("linkpath", b"elsewhere")]).link("short", "short");
    assert_eq!(merged(vec![pax]).last().unwrap(), &format!("/{long} -> elsewhere"));
    let gnu = Tar::new()
        .entry(b"././@LongLink", tar::EntryType::GNULongName, b"", format!("{long}\0").as_bytes())
        .file("short", "#!x");
    assert_eq!(merged(vec![gnu]).last().unwrap(), &format!("/{long} #!x"));
    let mut header = tar::Header::new_old();
    header.as_old_mut().name[..4].copy_from_slice(b"old/");
    header.as_old_mut().linkflag = [0];
    header.set_size(0);
    header.set_mode(0o755);
    header.set_cksum();
    assert_eq!(merged(vec![Tar::new().push(&header, b"")]), ["/old/"]);
}

#[test]
fn a_directory_is_as_the_highest_layer_says_that_describes_it() {
    let mode = |layers: Vec<Tar>| {
        let layers: Vec<Vec<u8>> = layers.into_iter().map(Tar::end).collect();
        let tree = crate::tests::tree(&layers).unwrap();
        let searched = tree.searched(std::path::Path::new("/a/x"));
        (searched[1].mode, searched[1].owner)
    };
    let closed = || Tar::new().owned("a/", 0o700, (7, 8), b"");
    let open = || Tar::new().owned("a/", 0o755, (1, 2), b"");
    let file = || Tar::new().file("a/x", "");
    assert_eq!(mode(vec![closed(), file()]), (0o700, Some((7, 8))), "the upper layer only has a file in it");
    assert_eq!(mode(vec![closed(), open(), file()]), (0o755, Some((1, 2))));
    assert_eq!(mode(vec![closed().file("a/x", "").file("b", ""), open()]), (0o755, Some((1, 2))));
    assert_eq!(mode(vec![file().owned("a/", 0o711, (3, 4), b"")]), (0o711, Some((3, 4))), "in any order");
    let link = || Tar::new().link("a", "b");
    assert_eq!(mode(vec![closed(), link(), file()]), (0o755, None), "it replaces the link");
    assert_eq!(mode(vec![file()]), (0o755, None));
}
