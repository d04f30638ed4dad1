"""`ppcoordconv train`, for a checkout that is not installed."""

from _tool import run_alone

if __name__ == "__main__":
    run_alone("train")
