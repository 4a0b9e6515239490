"""Links from tasks to Tencent's console."""
