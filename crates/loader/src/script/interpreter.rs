//! The files and modules that interpreters of other languages run, from their arguments. The manual of each
//! interpreter defines the options that take a value.

/// The code that an interpreter runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interpreted {
    /// A file with its path and the endings that the interpreter tries.
    File(String, &'static [&'static str]),
    /// A module, a class or a text.
    Other(String),
}

/// The meaning of one-letter options that are joined in one word.
enum Joined<'a> {
    /// Options without an effect on the following words.
    Flags,
    /// The next word is the value of the last option.
    Value,
    /// An option with the code to run: the rest of the word, or the next word if the rest is empty.
    Run(&'static str, &'a str),
    /// An option with the file to run, in the same form.
    File(&'a str),
}

/// An interpreter.
struct Interpreter {
    name: &'static str,
    /// Options that are followed by a text, a module or a class to run.
    run: &'static [&'static str],
    /// Options that are followed by the file to run.
    file: &'static [&'static str],
    /// Options that are followed by a value.
    value: &'static [&'static str],
    /// Whether the first word that is not an option is a file.
    takes_file: bool,
    /// One-letter options without a value that may be joined in one word. Empty if options are never joined.
    flags: &'static str,
    /// Options with the rest of the word as their value, which may be empty.
    attached: &'static str,
    endings: &'static [&'static str],
}

const fn interpreter(
    name: &'static str,
    run: &'static [&'static str],
    value: &'static [&'static str],
) -> Interpreter {
    Interpreter { name, run, file: &[], value, takes_file: true, flags: "", attached: "", endings: &[] }
}

/// Returns the same interpreter with options that may be joined in one word.
const fn lettered(flags: &'static str, attached: &'static str, of: Interpreter) -> Interpreter {
    Interpreter { flags, attached, ..of }
}

const PYTHON: &str = "bBdEiIOPqRsSuvx";

const INTERPRETERS: [Interpreter; 14] = [
    lettered(PYTHON, "", interpreter("python", &["-c", "-m"], &["-W", "-X", "--check-hash-based-pycs"])),
    lettered(PYTHON, "", interpreter("pypy", &["-c", "-m"], &["-W", "-X", "--jit"])),
    node("nodejs"),
    node("node"),
    lettered("acfglnpstTuUwWX0123456789", "FimMx", interpreter("perl", &["-e", "-E"], &["-I"])),
    lettered(
        "acdlnpsUvwW0123456789",
        "FixX",
        interpreter("ruby", &["-e"], &["-r", "-I", "-C", "-E", "--encoding"]),
    ),
    lettered("iEv", "O", interpreter("luajit", &["-e"], &["-l", "-j"])),
    lettered("iEvW", "", interpreter("lua", &["-e"], &["-l"])),
    interpreter("Rscript", &["-e"], &[]),
    interpreter("tclsh", &[], &["-encoding"]),
    Interpreter {
        file: &["-f"],
        flags: "CHelnqsw",
        ..interpreter("php", &["-r", "-S", "-B", "-R", "-E"], &["-c", "-d", "-t", "-z"])
    },
    Interpreter {
        file: &["exec"],
        ..interpreter(
            "dotnet",
            &[],
            &["--additionalprobingpath", "--depsfile", "--runtimeconfig", "--fx-version", "--roll-forward"],
        )
    },
    Interpreter { takes_file: false, ..JAVA },
    Interpreter { file: &["-f"], takes_file: false, ..interpreter("guile", &["-c"], &["-L", "-C"]) },
];

const fn node(name: &'static str) -> Interpreter {
    Interpreter {
        endings: &[".js", ".json", ".node", ".mjs", ".cjs"],
        ..interpreter(
            name,
            &["-e", "--eval", "-p", "--print", "-pe"],
            &[
                "-r",
                "--require",
                "--import",
                "--loader",
                "--experimental-loader",
                "-C",
                "--conditions",
                "--env-file",
                "--max-old-space-size",
            ],
        )
    }
}

const JAVA: Interpreter = Interpreter {
    file: &["-jar"],
    ..interpreter(
        "java",
        &["-m", "--module"],
        &[
            "-cp",
            "-classpath",
            "--class-path",
            "-p",
            "--module-path",
            "--upgrade-module-path",
            "--add-modules",
            "--add-opens",
            "--add-exports",
            "--add-reads",
            "--enable-native-access",
        ],
    )
};

/// Returns the code that a program of this name runs with these arguments. `None` if it is not a known
/// interpreter or runs nothing.
pub fn interpreted(name: &str, arguments: &[String]) -> Option<Interpreted> {
    let is_version = |rest: &str| !rest.starts_with(|letter: char| letter.is_ascii_alphabetic());
    let is_it = |known: &&Interpreter| name.strip_prefix(known.name).is_some_and(is_version);
    INTERPRETERS.iter().find(is_it)?.run(arguments)
}

impl Interpreter {
    fn run(&self, arguments: &[String]) -> Option<Interpreted> {
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let word = word.as_str();
            if self.run.contains(&word) {
                return words.next().map(|what| Interpreted::Other(format!("{word} {what}")));
            } else if self.file.contains(&word) {
                return words.next().map(|path| self.file(path));
            } else if self.value.contains(&word) {
                words.next();
            } else if word == "-" {
                return None;
            } else if word == "--" {
                return words.next().map(|path| self.file(path));
            } else if !word.starts_with('-') {
                let is_file = self.takes_file || word.contains('/');
                return Some(if is_file { self.file(word) } else { Interpreted::Other(word.to_owned()) });
            } else if !word.starts_with("--") && !self.flags.is_empty() {
                match self.letters(&word[1..])? {
                    Joined::Flags => {}
                    Joined::Value => _ = words.next(),
                    Joined::Run(letter, "") => {
                        return words.next().map(|what| Interpreted::Other(format!("{letter} {what}")));
                    }
                    Joined::Run(letter, what) => return Some(Interpreted::Other(format!("{letter} {what}"))),
                    Joined::File("") => return words.next().map(|path| self.file(path)),
                    Joined::File(path) => return Some(self.file(path)),
                }
            }
        }
        None
    }

    /// Interprets the letters of one word. `None` if a letter is unknown or prevents the run.
    fn letters<'a>(&self, letters: &'a str) -> Option<Joined<'a>> {
        for (at, letter) in letters.char_indices() {
            let rest = &letters[at + letter.len_utf8()..];
            let option = format!("-{letter}");
            let is_in = |options: &[&'static str]| options.iter().copied().find(|known| *known == option);
            if let Some(option) = is_in(self.run) {
                return Some(Joined::Run(option, rest));
            } else if is_in(self.file).is_some() {
                return Some(Joined::File(rest));
            } else if is_in(self.value).is_some() {
                return Some(if rest.is_empty() { Joined::Value } else { Joined::Flags });
            } else if self.attached.contains(letter) {
                return Some(Joined::Flags);
            } else if !self.flags.contains(letter) {
                return None;
            }
        }
        Some(Joined::Flags)
    }

    fn file(&self, path: &str) -> Interpreted {
        Interpreted::File(path.to_owned(), self.endings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_an_interpreter_stands_behind_its_options() {
        for (command, expected) in [
            ("python3 app.py --x", Some("app.py")),
            ("python3.11 -u -W ignore -X dev /srv/app.py", Some("/srv/app.py")),
            ("python3 -Wignore -", None),
            ("python3", None),
            ("python3-config --libs", None),
            ("python3 -m http.server 80", Some("+-m http.server")),
            ("python3 -c print(1)", Some("+-c print(1)")),
            ("node --require ./x.js server", Some("server")),
            ("nodejs -e 1", Some("+-e 1")),
            ("nodemon server.js", None),
            ("perl -w -I lib run.pl", Some("run.pl")),
            ("java -Xmx1g -cp /a:/b -jar /app.jar x", Some("/app.jar")),
            ("java -cp /a org.Main", Some("+org.Main")),
            ("javac X.java", None),
            ("php -d a=b -f x.php", Some("x.php")),
            ("php8.2 x.php", Some("x.php")),
            ("ruby -- -x", Some("-x")),
            ("lua5.4 -l m app.lua", Some("app.lua")),
            ("Rscript --vanilla a.R", Some("a.R")),
            ("dotnet app.dll", Some("app.dll")),
            ("nginx -g x", None),
            // Joined letters: the cases of Python and Perl were tried, the others follow the manuals.
            ("python3 -um http.server", Some("+-m http.server")),
            ("python3 -uc 1", Some("+-c 1")),
            ("python3 -mhttp.server 80", Some("+-m http.server")),
            ("python3 -uWignore a.py", Some("a.py")),
            ("python3 -uW ignore a.py", Some("a.py")),
            ("python3 -V a.py", None),
            ("perl -we 1", Some("+-e 1")),
            ("perl -MFoo -ne print", Some("+-e print")),
            ("perl -pi.bak -e 1 a", Some("+-e 1")),
            ("perl -lane print a", Some("+-e print")),
            ("perl -F: -e1", Some("+-e 1")),
            ("perl -Ilib -w a.pl", Some("a.pl")),
            ("perl -S a.pl", None),
            ("perl -c a.pl", Some("a.pl")),
            ("perl -de 1", None),
            ("perl -ie a.pl", Some("a.pl")),
            ("ruby -W0e 1", Some("+-e 1")),
            ("ruby -rjson -ne 1 a", Some("+-e 1")),
            ("ruby -W0 a.rb", Some("a.rb")),
            ("ruby -S a", None),
            ("lua -lfoo a.lua", Some("a.lua")),
            ("lua -e1 a.lua", Some("+-e 1")),
            ("php -qd a=b x.php", Some("x.php")),
            ("php -fx.php", Some("x.php")),
            ("php -m x.php", None),
            ("node -pe 1", Some("+-pe 1")),
            ("java -Xmx1g -Dmx=1 org.Main", Some("+org.Main")),
        ] {
            let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
            let found = interpreted(&words[0], &words[1..]).map(|found| match found {
                Interpreted::File(path, _) => path,
                Interpreted::Other(what) => format!("+{what}"),
            });
            assert_eq!(found.as_deref(), expected, "{command}");
        }
    }
}
