"""`ppcoordconv infer`, for a checkout that is not installed."""

from _tool import command, leave

main = command("infer")

if __name__ == "__main__":
    leave(main())
