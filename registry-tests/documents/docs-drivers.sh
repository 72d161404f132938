# needs: registry roots cc
# An image for a GPU, one for a fabric, and roots of nodes: their drivers are stubs with the files of real ones.
. "$DOCUMENTS/application.sh"
work="$(mktemp -d)"
echo 'int cuInit(unsigned flags) { return flags; }' >"$work/driver.c"
gcc -shared -fPIC -Wl,-soname,libcuda.so.1 "$work/driver.c" -o "$work/libcuda.so.1"
for node in gpu-1:525.60.13 gpu-2:550.54.15; do
    libraries="nodes/${node%:*}/usr/lib/x86_64-linux-gnu"
    mkdir -p "$libraries"
    cp "$work/libcuda.so.1" "$libraries/libcuda.so.${node#*:}"
    ln -s "libcuda.so.${node#*:}" "$libraries/libcuda.so.1"
done
mkdir -p nodes/login
echo 'int cuInit(unsigned flags); int main(void) { return cuInit(0); }' >"$work/train.c"
mkdir -p "$work/image/bin"
gcc "$work/train.c" "$work/libcuda.so.1" -o "$work/image/bin/train"
copy_libc /srv/bookworm "$work/image"
push_image ghcr.io/org/train:1.0 "$work/image" '{"Entrypoint":["/bin/train"],"Env":["NVIDIA_VISIBLE_DEVICES=all",
    "NVIDIA_DRIVER_CAPABILITIES=compute","NVIDIA_REQUIRE_CUDA=cuda>=12.2"]}'
rm "$work/image/bin/train"
make_simulate "$work/image"
push_image ghcr.io/org/simulate:1.0 "$work/image" '{"Entrypoint":["/bin/simulate"]}'
echo 'int site_log(void) { return 0; }' >"$work/site.c"
gcc -shared -fPIC -Wl,-soname,libsitelog.so.2 "$work/site.c" -o "$work/libsitelog.so.2"
echo 'int site_log(void); int main(void) { return site_log(); }' >"$work/app.c"
gcc "$work/app.c" "$work/libsitelog.so.2" -o "$work/image/bin/app"
push_image ghcr.io/org/app:1.0 "$work/image" '{"Entrypoint":["/bin/app"]}'
rm -r "$work"
