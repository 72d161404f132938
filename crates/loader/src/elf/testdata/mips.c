/* mips.so and mips64el.so: gcc -O1 -shared -fPIC -nostdlib -Wl,--hash-style=sysv, stripped. */
extern int gone(int); extern int called(int); extern int data_gone; int own = 3; extern int weak_gone(void) __attribute__((weak));
int f(int x){ return called(x) + data_gone + own + (weak_gone ? weak_gone() : 0); }
int (*p)(int) = gone;
