//! What interpreters of other languages than the shell's are told to run: a file, or something else. Which of
//! their options take a value is from the manual of each.

/// What an interpreter runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interpreted {
    /// A file, which it looks for by this path and with these endings.
    File(String, &'static [&'static str]),
    /// A module, a class or a text.
    Other(String),
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
    /// Whether the first word that is no option is a file.
    takes_file: bool,
    endings: &'static [&'static str],
}

const fn interpreter(
    name: &'static str,
    run: &'static [&'static str],
    value: &'static [&'static str],
) -> Interpreter {
    Interpreter { name, run, file: &[], value, takes_file: true, endings: &[] }
}

const INTERPRETERS: [Interpreter; 14] = [
    interpreter("python", &["-c", "-m"], &["-W", "-X", "--check-hash-based-pycs"]),
    interpreter("pypy", &["-c", "-m"], &["-W", "-X", "--jit"]),
    node("nodejs"),
    node("node"),
    interpreter("perl", &["-e", "-E"], &["-I"]),
    interpreter("ruby", &["-e"], &["-r", "-I", "-C", "-E", "--encoding"]),
    interpreter("luajit", &["-e"], &["-l", "-j"]),
    interpreter("lua", &["-e"], &["-l"]),
    interpreter("Rscript", &["-e"], &[]),
    interpreter("tclsh", &[], &["-encoding"]),
    Interpreter { file: &["-f"], ..interpreter("php", &["-r", "-S"], &["-c", "-d", "-t", "-z"]) },
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
            &["-e", "--eval", "-p", "--print"],
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

/// What a program of this name is told to run by its arguments; none if it is no known interpreter, or is told to
/// run nothing.
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
            }
        }
        None
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
