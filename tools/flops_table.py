"""``mutualvideo table``, for a checkout that is not installed."""

from mutualvideo.commands.command_line import tool
from mutualvideo.commands.tool import run_tool

main = tool("table", "flops_table.py")

if __name__ == "__main__":
    run_tool(main)
