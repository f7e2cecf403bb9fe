"""The web page over an ``AdaptiveRecognizer``: a clip in, a budget, an answer.

Gradio is imported by ``app.py`` alone; start reading there.
"""
