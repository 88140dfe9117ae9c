from dp.cli import main

main()
