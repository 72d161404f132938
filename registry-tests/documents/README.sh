# needs: registry roots fuse cc git
# The application `app`, as a directory and as an image in the registry.
. "$DOCUMENTS/application.sh"
make_app app
printf 'a,b\n1,2\n3,4\n' >data.csv
mkdir image
cp -r app image/app
copy_libc /srv/bookworm image
push_image ghcr.io/org/app:1.0 image '{"Entrypoint":["/app/bin/app"]}'
push_image ghcr.io/org/app:1.1 image '{"Entrypoint":["/app/bin/app"],"Cmd":["data.csv"]}'
compat -q attach --generate ghcr.io/org/app:1.0 >/dev/null
rm -r image
# The first command reads the version of Rust that it needs. rustup finds its toolchains in the user's real home.
cp "$DOCUMENTS/../../Cargo.toml" .
RUSTUP_HOME="${RUSTUP_HOME:-$(getent passwd "$(id -u)" | cut -d : -f 6)/.rustup}"
export RUSTUP_HOME
