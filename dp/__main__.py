import os
import sys

from dp.worker.client import hand_over

# A stream that the caller closed would be the number of the next file that is opened, which then takes what is printed.
for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
    if getattr(sys, name) is None:
        setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  it stays open to the end
        os.set_inheritable(getattr(sys, name).fileno(), True)

status = hand_over(sys.argv[1:])
if status is None:
    from dp.commands.cli import main

    main()
else:
    sys.exit(status)
