# needs: roots cc fuse docker mpirun
# An application, its input, and an image of it in the engine.
. "$DOCUMENTS/application.sh"
make_app app
printf 'a,b\n1,2\n3,4\n' >data.csv
image="$(mktemp -d)"
cp -r app "$image/app"
copy_libc /srv/bookworm "$image"
tar -C "$image" -c . | docker import --change 'ENTRYPOINT ["/app/bin/app"]' - app:1.0 >/dev/null
rm -r "$image"
# Open MPI starts as root, and with more ranks than cores, only if it is allowed to. PRTE_ is for version 5.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
