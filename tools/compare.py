"""``mutualvideo compare``, for a checkout that is not installed."""

from mutualvideo.commands.command_line import tool
from mutualvideo.commands.tool import run_tool

main = tool("compare", "compare.py")

if __name__ == "__main__":
    run_tool(main)
