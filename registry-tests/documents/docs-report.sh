# needs: roots gcc musl-gcc
# The files of docs/report.md: small programs, each with one fault, a small root, and an image.
. "$DOCUMENTS/image.sh"

# An application, its library, and a plugin that does not say where the library is.
mkdir -p app/bin app/lib app/plugins
echo 'int greet(void) { return 0; }' >greet.c
echo 'int greet(void); int main(void) { return greet(); }' >main.c
echo 'int greet(void); int plugin(void) { return greet(); }' >plugin.c
library='-shared -fPIC -Wl,-soname,libgreet.so.1'
gcc $library -o app/lib/libgreet.so.1 greet.c
gcc -o app/bin/app main.c app/lib/libgreet.so.1 -Wl,-rpath,'$ORIGIN/../lib'
gcc -shared -fPIC -o app/plugins/wave.so plugin.c app/lib/libgreet.so.1

# The same program without a search path.
gcc -o client main.c app/lib/libgreet.so.1

# A program that calls a function which its library does not have.
mkdir -p outdated/bin outdated/lib
echo 'int greet(void) { return 0; } int greet_all(void) { return 0; }' >greet_new.c
echo 'int greet(void); int greet_all(void); int main(int n, char **a) { return n > 1 ? greet_all() : greet(); }' >new.c
gcc $library -o libgreet_new.so greet_new.c
gcc -Wl,-z,lazy -o outdated/bin/app new.c libgreet_new.so -Wl,-rpath,'$ORIGIN/../lib'
cp app/lib/libgreet.so.1 outdated/lib/

# Programs for another C library, another CPU, and another machine: 183 (octal 267) in e_machine is aarch64.
echo 'int main(void) { return 0; }' >hello.c
musl-gcc -o hello-musl hello.c
gcc -Wl,-z,x86-64-v4 -o simulate hello.c
gcc -o hello-arm64 hello.c
printf '\267' | dd of=hello-arm64 bs=1 seek=18 conv=notrunc status=none

# A package with one library for each of two machines.
mkdir -p package/prebuilds/linux-x64 package/prebuilds/linux-arm64
gcc -shared -fPIC -o package/prebuilds/linux-x64/fast.node hello.c
cp package/prebuilds/linux-x64/fast.node package/prebuilds/linux-arm64/
printf '\267' | dd of=package/prebuilds/linux-arm64/fast.node bs=1 seek=18 conv=notrunc status=none

# A script that cannot be followed, and one that can.
printf '#!/bin/sh\nif [ -n "$DEBUG" ]; then exec gdb app/bin/app; fi\nexec app/bin/app "$@"\n' >start.sh
printf '#!/bin/sh\nexport GREETING=hello\nexec /usr/bin/greeter --all\n' >greet-all
chmod +x start.sh greet-all

# A root: a loader, a C library, and a library that ldconfig has not seen.
mkdir -p node/lib64 node/lib/x86_64-linux-gnu node/usr/local/lib node/etc
cp /srv/bookworm/lib64/ld-linux-x86-64.so.2 node/lib64/
cp /srv/bookworm/lib/x86_64-linux-gnu/libc.so.6 node/lib/x86_64-linux-gnu/
cp app/lib/libgreet.so.1 node/usr/local/lib/
echo /usr/local/lib >node/etc/ld.so.conf

# An image that needs a GPU.
cp -r node image
gcc -o image/train hello.c
make_image images train image \
    '{"Entrypoint":["/train"],"Env":["NVIDIA_VISIBLE_DEVICES=all","NVIDIA_REQUIRE_CUDA=cuda>=12.4"]}'
