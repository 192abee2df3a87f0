/* What the kernel says of its clock, instead of the kernel: its largest error in microseconds is $KERNEL_CLOCK_ERROR;
 * without that, the question is refused, as a filter of system calls does. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>

int adjtimex(struct timex *state)
{
    const char *error = getenv("KERNEL_CLOCK_ERROR");
    if (error == NULL) {
        errno = EPERM;
        return -1;
    }
    memset(state, 0, sizeof *state);
    state->maxerror = atol(error);
    return state->maxerror < 16000000 ? TIME_OK : TIME_ERROR;
}
