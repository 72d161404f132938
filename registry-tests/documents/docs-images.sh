# needs: registry roots cc docker
# One image in the engine, in a registry, as an archive and as a directory.
. "$DOCUMENTS/application.sh"
mkdir rootfs
make_app rootfs/app
copy_libc /srv/bookworm rootfs
tar -C rootfs -c . | docker import --change 'ENTRYPOINT ["/app/bin/app"]' - app:1.0 >/dev/null
docker save -o app.tar app:1.0
push_image ghcr.io/org/app:1.0 rootfs '{"Entrypoint":["/app/bin/app"]}'
