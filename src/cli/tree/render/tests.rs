use super::*;
use crate::app::tree::{Available, TreeObject, TreeReport};
use crate::app::tree::{place, why};
use crate::cli::tree::listing;
use compat_loader::loader::Rejection;
use compat_loader::spec::DlopenNeed;

fn object(path: &str, found: Rule, needs: Vec<TreeEdge>) -> TreeObject {
    TreeObject {
        path: path.to_owned(),
        names: Vec::new(),
        soname: path.rsplit('/').next().map(str::to_owned),
        build_id: None,
        interpreter: (found == Rule::Program).then(|| "/lib64/ld-linux-x86-64.so.2".to_owned()),
        found,
        loaded_by: None,
        needs,
        bindings: None,
    }
}

fn needed(name: &str, object: Option<usize>, known_by: Option<KnownBy>) -> TreeEdge {
    TreeEdge { name: name.to_owned(), kind: EdgeKind::Needed, object, known_by, available: None }
}

fn opened(name: &str, priority: DlopenPriority, path: Option<&str>) -> TreeEdge {
    let available = path.map(|path| Available { path: path.to_owned(), found: Rule::Cache });
    TreeEdge { kind: EdgeKind::Dlopen { priority }, available, ..needed(name, None, None) }
}

/// A program with a bundled library, which needs a third one. All of them need the C library.
fn sample(problems: &[Problem]) -> Tree {
    let runpath = Rule::Runpath { object: "/opt/app/bin/app".to_owned() };
    let (z, c) = (Rule::LibraryPath, Rule::Cache);
    let libc = "/lib/x86_64-linux-gnu/libc.so.6";
    let objects = vec![
        object(
            "/opt/app/bin/app",
            Rule::Program,
            vec![
                needed("liba.so.1", Some(1), None),
                needed("libgone.so.7", None, None),
                needed("libc.so.6", Some(2), None),
                opened("libzstd.so.1", DlopenPriority::Suggested, Some("/lib/x86_64-linux-gnu/libzstd.so.1")),
            ],
        ),
        object(
            "/opt/app/lib/liba.so.1",
            runpath,
            vec![
                needed("libz.so.1", Some(3), None),
                needed("libc.so.6", Some(2), Some(KnownBy::Name)),
                opened("libbz2.so.1.0", DlopenPriority::Required, None),
            ],
        ),
        object(libc, c, Vec::new()),
        object("/srv/lib/libz.so.1", z, vec![needed("libc.so.6", Some(2), Some(KnownBy::Soname))]),
    ];
    let told = |problem: &Problem| TreeProblem {
        impact: problem.effect().into(),
        message: problem.loader_message(),
        at: place::of(problem, &objects),
        problem: problem.clone(),
    };
    let problems: Vec<TreeProblem> = problems.iter().map(told).collect();
    let worst = problems.iter().map(|problem| problem.impact).max().unwrap_or(Impact::Note);
    let (subject, verdict) = ("/opt/app/bin/app".to_owned(), worst.verdict());
    Tree { subject, verdict, objects, problems, left_to_program: Vec::new(), why: None }
}

fn troubled() -> Tree {
    let app = "/opt/app/bin/app";
    let liba = "/opt/app/lib/liba.so.1";
    sample(&[
        Problem::LibraryMissing {
            library: "libgone.so.7".into(),
            wanted_by: app.into(),
            searched: vec!["/opt/app/lib".into(), "/usr/lib".into()],
            rejected: vec![Rejection {
                path: "/usr/lib/libgone.so.7".into(),
                reason: "wrong ELF class".into(),
            }],
        },
        Problem::VersionMissing {
            library: "libc.so.6".into(),
            path: "/lib/x86_64-linux-gnu/libc.so.6".into(),
            version: "GLIBC_2.34".into(),
            wanted_by: liba.into(),
            highest: Some("GLIBC_2.31".into()),
        },
        Problem::IsaTooLow {
            object: "/srv/lib/libz.so.1".into(),
            wanted: "x86-64-v3".into(),
            host: "x86-64-v2".into(),
            refused: true,
            setting: None,
        },
        Problem::SymbolMissing {
            symbol: "compress9".into(),
            version: None,
            library: None,
            wanted_by: liba.into(),
            lazy: true,
        },
        Problem::DlopenMissing {
            need: Box::new(DlopenNeed {
                sonames: vec!["libbz2.so.1.0".into()],
                feature: Some("bzip2".into()),
                description: None,
                priority: DlopenPriority::Required,
            }),
            wanted_by: liba.into(),
            searched: Vec::new(),
            rejected: Vec::new(),
        },
    ])
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn each_name_is_shown_with_its_file_and_the_rule_that_led_there() {
    insta::assert_snapshot!(plain(&tree(&sample(&[]), usize::MAX)), @"
    /opt/app/bin/app (started by /lib64/ld-linux-x86-64.so.2)
    ├── liba.so.1 => /opt/app/lib/liba.so.1 (runpath of /opt/app/bin/app)
    │   ├── libz.so.1 => /srv/lib/libz.so.1 (LD_LIBRARY_PATH)
    │   │   └── libc.so.6 (already loaded: the soname of /lib/x86_64-linux-gnu/libc.so.6)
    │   ├── libc.so.6 (already loaded)
    │   └── libbz2.so.1.0 (dlopen, required) => not found
    ├── libgone.so.7 => not found
    ├── libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (ld.so.cache)
    └── libzstd.so.1 (dlopen, suggested) => /lib/x86_64-linux-gnu/libzstd.so.1 (ld.so.cache)
    ");
}

#[test]
fn trouble_is_told_where_it_is() {
    insta::assert_snapshot!(plain(&tree(&troubled(), usize::MAX)), @"
    /opt/app/bin/app (started by /lib64/ld-linux-x86-64.so.2)
    ├── liba.so.1 => /opt/app/lib/liba.so.1 (runpath of /opt/app/bin/app)
    │   │   x /opt/app/lib/liba.so.1: undefined symbol: compress9, at the first call
    │   ├── libz.so.1 => /srv/lib/libz.so.1 (LD_LIBRARY_PATH)
    │   │   │   x /srv/lib/libz.so.1: CPU ISA level is lower than required
    │   │   └── libc.so.6 (already loaded: the soname of /lib/x86_64-linux-gnu/libc.so.6)
    │   ├── libc.so.6 (already loaded)
    │   │       x /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found (required by /opt/app/lib/liba.so.1)
    │   │         the newest version is GLIBC_2.31
    │   └── libbz2.so.1.0 (dlopen, required) => not found
    │           x libbz2.so.1.0, which /opt/app/lib/liba.so.1 opens at run time (bzip2), was not found
    │             searched: only the loader's cache
    ├── libgone.so.7 => not found
    │       x libgone.so.7: cannot open shared object file: No such file or directory
    │         searched: /opt/app/lib, /usr/lib
    │         skipped: /usr/lib/libgone.so.7 (wrong ELF class)
    ├── libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (ld.so.cache)
    └── libzstd.so.1 (dlopen, suggested) => /lib/x86_64-linux-gnu/libzstd.so.1 (ld.so.cache)
    /opt/app/bin/app: would not start
    ");
}

#[test]
fn a_depth_hides_the_levels_below_and_not_the_conclusion() {
    insta::assert_snapshot!(plain(&tree(&troubled(), 1)), @"
    /opt/app/bin/app (started by /lib64/ld-linux-x86-64.so.2)
    ├── liba.so.1 => /opt/app/lib/liba.so.1 (runpath of /opt/app/bin/app)
    │       x /opt/app/lib/liba.so.1: undefined symbol: compress9, at the first call
    ├── libgone.so.7 => not found
    │       x libgone.so.7: cannot open shared object file: No such file or directory
    │         searched: /opt/app/lib, /usr/lib
    │         skipped: /usr/lib/libgone.so.7 (wrong ELF class)
    ├── libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (ld.so.cache)
    └── libzstd.so.1 (dlopen, suggested) => /lib/x86_64-linux-gnu/libzstd.so.1 (ld.so.cache)
    /opt/app/bin/app: would not start
    ");
}

#[test]
fn a_script_shows_the_programs_that_it_leads_to() {
    let mut script = sample(&[]);
    script.subject = "/opt/app/start".to_owned();
    let text = plain(&tree(&script, 2));
    insta::assert_snapshot!(text.lines().take(3).collect::<Vec<_>>().join("\n"), @"
    /opt/app/start
    └── /opt/app/bin/app
        ├── liba.so.1 => /opt/app/lib/liba.so.1 (runpath of /opt/app/bin/app)
    ");
}

#[test]
fn what_never_loads_is_told_below_the_first_line() {
    let problem = Problem::WrongMachine {
        object: "/opt/app/bin/app".into(),
        machine: "aarch64".into(),
        host: "x86_64".into(),
    };
    let mut tree_of = sample(&[]);
    tree_of.objects.clear();
    tree_of.verdict = Verdict::Incompatible;
    tree_of.problems = vec![TreeProblem {
        impact: Impact::DoesNotStart,
        message: problem.loader_message(),
        at: None,
        problem,
    }];
    insta::assert_snapshot!(plain(&tree(&tree_of, usize::MAX)), @"
    /opt/app/bin/app
        x /opt/app/bin/app: cannot execute binary file: Exec format error
    /opt/app/bin/app: would not start
    ");
}

#[test]
fn the_list_is_in_the_order_of_loading() {
    insta::assert_snapshot!(plain(&listing::flat(&troubled(), true)).replace('\t', "  "), @"
    /opt/app/bin/app:
      liba.so.1 => /opt/app/lib/liba.so.1 (runpath of /opt/app/bin/app)
      libgone.so.7 => not found
      libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (ld.so.cache)
      libz.so.1 => /srv/lib/libz.so.1 (LD_LIBRARY_PATH)
      x /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found (required by /opt/app/lib/liba.so.1)
        the newest version is GLIBC_2.31
      x /srv/lib/libz.so.1: CPU ISA level is lower than required
      x /opt/app/lib/liba.so.1: undefined symbol: compress9, at the first call
      x libbz2.so.1.0, which /opt/app/lib/liba.so.1 opens at run time (bzip2), was not found
        searched: only the loader's cache
    ");
}

#[test]
fn every_way_to_a_library_is_told_the_shortest_first() {
    let tree = sample(&[]);
    let chains = |name: &str| plain(&listing::chains(&tree, &why::find(&tree, name)));
    insta::assert_snapshot!(chains("libc.so.6"), @"
    libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (ld.so.cache)
      /opt/app/bin/app -> libc.so.6
      /opt/app/bin/app -> liba.so.1 -> libc.so.6
      /opt/app/bin/app -> liba.so.1 -> libz.so.1 -> libc.so.6
    ");
    insta::assert_snapshot!(chains("libgone.so.7"), @"
    libgone.so.7 => not found
      /opt/app/bin/app -> libgone.so.7
    ");
    insta::assert_snapshot!(chains("libx.so.1"), @"nothing in /opt/app/bin/app needs libx.so.1");
}

#[test]
fn names_of_strangers_do_not_steer_the_terminal() {
    let mut hostile = sample(&[Problem::RelrUnknown { object: "/opt/app/bin/app".into() }]);
    hostile.objects[0].needs = vec![needed("lib\u{1b}[2J.so", None, None)];
    hostile.problems[0].message = Some("a\u{1b}]0;b\nc".into());
    crate::cli::tree::printable::make(&mut hostile);
    let text = tree(&hostile, 1);
    let escapes = text.matches('\u{1b}').count();
    // The only escape sequences are our own styles.
    assert_eq!(escapes, text.matches("\u{1b}[").count());
    insta::assert_snapshot!(plain(&text).lines().skip(1).take(2).collect::<Vec<_>>().join("\n"), @r"
    │   x a\u{1b}]0;b c
    └── lib\u{1b}[2J.so => not found
    ");
}

#[test]
fn ways_through_a_dense_graph_are_bounded() {
    let mut dense = sample(&[]);
    let all = 40;
    dense.objects = (0..all)
        .map(|number| {
            let found = if number == 0 { Rule::Program } else { Rule::Cache };
            let needs = (0..all).map(|other| needed(&format!("lib{other}.so"), Some(other), None)).collect();
            object(&format!("/lib/lib{number}.so"), found, needs)
        })
        .collect();
    assert!(why::find(&dense, "lib39.so").truncated);
}

#[test]
fn the_document_fits_its_schema() {
    let host = compat_loader::check::HostSummary {
        root: "/".into(),
        saved: false,
        machine: "x86_64".into(),
        isa: None,
        kernel: None,
    };
    let identifier = crate::app::tree::IDENTIFIER;
    let mut tree = troubled();
    tree.why = Some(why::find(&tree, "libz.so.1"));
    let report = TreeReport { schema: identifier.to_owned(), host, trees: vec![tree], failed: Vec::new() };
    let schema = compat_loader::spec::schema::of_output::<TreeReport>(identifier);
    let document = serde_json::to_value(&report).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let faults: Vec<String> = validator.iter_errors(&document).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{faults:?}");
}
