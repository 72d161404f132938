# needs: roots gcc fuse
# An application for docs/specification.md, and a plugin outside its directory, which it opens if it is given its name.
mkdir -p app/bin app/lib plugins
echo 'int greet(void) { return 0; }' >greet.c
echo 'int color(void) { return 0; }' >color.c
cat >main.c <<'END'
#include <dlfcn.h>
int greet(void);
int main(int count, char **names) { return count > 1 && !dlopen(names[1], RTLD_NOW) ? 1 : greet(); }
END
gcc -shared -fPIC -nostdlib -Wl,-soname,libgreet.so.1 -o app/lib/libgreet.so.1 greet.c
gcc -shared -fPIC -nostdlib -o plugins/color.so color.c
gcc -o app/bin/app main.c app/lib/libgreet.so.1 -Wl,-rpath,'$ORIGIN/../lib'
