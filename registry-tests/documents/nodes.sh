# needs: registry roots gcc docker
# An index with an artifact for this machine, and an image that needs a library of its host.
. "$DOCUMENTS/application.sh"
image="$(mktemp -d)"
make_app "$image/app"
copy_libc "$ROOTS/bookworm" "$image"
printf 'a,b\n1,2\n3,4\n' >"$image/data.csv"
make_index registry.example/org/app:1.0 '"Entrypoint":["/app/bin/app"]' "$image" "$(platform)" "$image" riscv64
compat -q attach --generate --platform "linux/$(platform)" registry.example/org/app:1.0 >/dev/null
rm -r "$image"/*
make_simulate "$image"
copy_libc "$ROOTS/bookworm" "$image"
make_image registry.example/org/simulate:1.0 "$image" '"Entrypoint":["/bin/simulate"]'
compat -q attach --generate registry.example/org/simulate:1.0 >/dev/null
make_image registry.example/org/other:1.0 "$image" '"Entrypoint":["/bin/simulate"]'
rm -r "$image"
checked-run() { "$DOCUMENTS/../../examples/docker/checked-run" "$@"; }
