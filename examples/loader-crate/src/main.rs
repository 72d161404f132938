//! Checks whether the dynamic loader of a root directory would start a program: `loader-crate PROGRAM ROOT`.
use compat_loader::check::{Host, Options, Verdict, check_application};
use compat_loader::generate;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, root] = arguments.as_slice() else { return Err("usage: loader-crate PROGRAM ROOT".into()) };
    let host = Host::at(root.as_ref(), &Options::default())?;
    let programs = generate::Options { paths: vec![program.into()], ..Default::default() };
    let report = check_application(&generate::read(&programs)?.application, &host);
    for message in report.findings.iter().filter_map(|finding| finding.message.as_ref()) {
        println!("{message}");
    }
    std::process::exit(i32::from(report.verdict != Verdict::Compatible));
}
