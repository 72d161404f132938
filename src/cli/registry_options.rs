//! The options of every subcommand that talks to a registry.
