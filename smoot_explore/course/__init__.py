"""What the course needs: exercises that check themselves."""
