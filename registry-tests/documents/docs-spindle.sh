# needs: cc fuse mpirun
# An application on a file system that is not on the network, and its input.
. "$DOCUMENTS/application.sh"
make_app app
printf 'a,b\n1,2\n3,4\n' >data.csv
# The cache of these commands, and the directory of their sessions.
TMPDIR="$(mktemp -d)"
XDG_RUNTIME_DIR="$(mktemp -d)"
export TMPDIR XDG_RUNTIME_DIR
# Open MPI starts as root, and with more ranks than cores, only if it is allowed to. PRTE_ is for version 5.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
# Files that are younger than a second are not kept.
sleep 1.2
