import sys

from dp.worker.client import hand_over

status = hand_over(sys.argv[1:])
if status is None:
    from dp.cli import main

    main()
else:
    sys.exit(status)
